"""/v1/recipients: who gets mail, and about what."""

from typing import Annotated

from fastapi import APIRouter, Path

from lifecycle import clock, ids
from lifecycle.api.context import ActorOf, ContextOf, require
from lifecycle.api.problems import invalid
from lifecycle.api.shapes.notifications import RecipientAnswer, RecipientEvents, RecipientList, recipient_answers
from lifecycle.db import Connection
from lifecycle.errors import Code, LifecycleError, shown
from lifecycle.ledger import recording
from lifecycle.ledger.entry import Entry
from lifecycle.models import Actor, Role
from lifecycle.notifications import targets_store
from lifecycle.notifications.mail import is_address
from lifecycle.notifications.targets_store import Recipient

router = APIRouter(prefix="/v1/recipients", tags=["notifications"])

AddressRef = Annotated[str, Path(max_length=254, description="A mail address.", examples=["ada@example.com"])]

_MOST = 50


@router.get("", summary="List who gets mail")
async def list_all(context: ContextOf, actor: ActorOf) -> RecipientList:
    """Lists every address that gets mail. Needs the role administrator.

    Whoever has a valid administrator key whose name is a mail address gets what ends something or wants a person:
    deletions and their reminders, certificates that fail, alarms, disabled webhooks. What is set here counts instead.
    """
    require(actor, Role.ADMINISTRATOR)
    found = await targets_store.recipients(context.db, actor.workspace)
    administrators = await targets_store.administrators(context.db, actor.workspace)
    return RecipientList(items=recipient_answers(found, administrators), mail=context.settings.smtp_url is not None)


@router.put("/{address}", summary="Set what an address gets")
async def put(address: AddressRef, body: RecipientEvents, context: ContextOf, actor: ActorOf) -> RecipientAnswer:
    """Sets about which events an address gets mail; with an empty list, none. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)
    if not is_address(address):
        raise invalid("address", "not a mail address such as ada@example.com")
    recipient = Recipient(address.lower(), body.events, clock.now(), actor.person)

    async def work(connection: Connection) -> None:
        if await targets_store.count_other_recipients(connection, actor.workspace, recipient.address) >= _MOST:
            raise LifecycleError(Code.TOO_MANY_RECIPIENTS, limit=str(_MOST))
        await targets_store.put_recipient(connection, actor.workspace, recipient)
        await recording.record_untold(connection, [_entry("recipient.set", actor, recipient.address, body.events)])

    await context.db.transaction(work)
    return RecipientAnswer(address=recipient.address, events=recipient.events, is_default=False)


@router.delete("/{address}", status_code=204, summary="Forget what was set for an address")
async def remove(address: AddressRef, context: ContextOf, actor: ActorOf) -> None:
    """Forgets what was set; an administrator then gets what all get by default. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)

    async def work(connection: Connection) -> None:
        if not await targets_store.delete_recipient(connection, actor.workspace, address.lower()):
            raise LifecycleError(Code.RECIPIENT_NOT_FOUND, address=shown(address))
        await recording.record_untold(connection, [_entry("recipient.removed", actor, address.lower(), ())])

    await context.db.transaction(work)


def _entry(action: str, actor: Actor, address: str, events: tuple[str, ...]) -> Entry:
    return Entry(
        id=ids.new("aud"),
        sequence=0,
        workspace=actor.workspace,
        action=action,
        actor=actor,
        at=clock.now(),
        detail={"address": address, "events": list(events)},
    )
