"""Keys and webhooks: who gets in, who is written to, and who follows the calendar. Secrets are shown once."""

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import APIRouter, Response

from lifecycle.api import calendar, keys, recipients
from lifecycle.api.context import ContextOf
from lifecycle.api.shapes.calendar import LinkList
from lifecycle.api.shapes.notifications import RecipientEvents, RecipientList
from lifecycle.api.shapes.records import KeyList, NewKey
from lifecycle.console import notices
from lifecycle.console.notices import DoneOf
from lifecycle.console.pages import PageRoute, asked, page
from lifecycle.console.sessions import SentOf, VisitorOf
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Role
from lifecycle.notifications import events

router = APIRouter(route_class=PageRoute, include_in_schema=False)

DONE: Mapping[str, str] = MappingProxyType(
    {
        "key-revoked": "The key is revoked.",
        "mail-set": "It is set.",
        "mail-forgotten": "What was set for the address is forgotten.",
        "link-revoked": "The link is revoked; calendars that used it are told so when they look.",
        "changed": "The webhook is changed.",
        "paused": "Nothing is sent there until somebody enables it.",
        "enabled": "It is enabled. What it has missed can be sent again below.",
        "removed": "The webhook is removed.",
        "replayed": "What it has missed is being sent again; look at its deliveries.",
        "sending": "It was sent; what came of it is below.",
        "resending": "It was sent again, under the same id; what came of it is below.",
    }
)


@router.get("/access")
async def show_keys(context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """The API keys of the workspace."""
    found: KeyList | None = None
    if visitor.actor.role.includes(Role.ADMINISTRATOR):
        found = await keys.list_all(context, visitor.actor)
    return page("keys.html", visitor, found=found, roles=list(Role), done=DONE.get(done, ""))


@router.post("/access/keys")
async def make_key(context: ContextOf, sent: SentOf) -> Response:
    """Makes a key, and shows it this once."""
    body = asked(lambda: NewKey.model_validate({"person": sent.get("person"), "role": sent.get("role")}))
    made = await keys.create(body, context, sent.visitor.actor)
    return page(
        "shown_once.html",
        sent.visitor,
        title=f"A key for {made.person}",
        what="The API key",
        secret=made.token,
        text=f"It has the role {made.role.value}. With it one signs in here, and programs send it as Authorization: "
        "Bearer …",
        back="/access",
    )


@router.get("/access/keys/{key}/revoke")
async def confirm_key(key: str, context: ContextOf, visitor: VisitorOf) -> Response:
    """Says what revoking a key will do, and asks."""
    found = next((one for one in (await keys.list_all(context, visitor.actor)).items if one.id == key), None)
    if found is None:
        raise LifecycleError(Code.KEY_NOT_FOUND, key=key[:40])
    own = found.id == visitor.actor.key
    return page(
        "ask.html",
        visitor,
        title=f"Revoke the key of {found.person}",
        facts={"Key": found.id, "Role": found.role.value, "Made by": found.created_by},
        text="Whoever uses it is refused at once, by other API processes within a minute. It cannot be undone; another "
        "key can be made." + (" It is the key that you are signed in with: this session ends too." if own else ""),
        button="Revoke it",
        back="/access",
    )


@router.post("/access/keys/{key}/revoke")
async def revoke_key(key: str, context: ContextOf, sent: SentOf) -> Response:
    """Revokes a key."""
    await keys.revoke(key, context, sent.visitor.actor)
    return notices.done("/access", "key-revoked")


@router.get("/access/mail")
async def show_mail(context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """Who gets mail, and about what."""
    found: RecipientList | None = None
    if visitor.actor.role.includes(Role.ADMINISTRATOR):
        found = await recipients.list_all(context, visitor.actor)
    return page("mail.html", visitor, found=found, families=sorted(events.FAMILIES), done=DONE.get(done, ""))


@router.post("/access/mail")
async def set_mail(context: ContextOf, sent: SentOf) -> Response:
    """Sets what an address gets."""
    wanted = patterns(sent.get("events"))
    body = asked(lambda: RecipientEvents.model_validate({"events": wanted}))
    address = sent.get("address")
    await recipients.put(address, body, context, sent.visitor.actor)
    return notices.done("/access/mail", "mail-set")


@router.post("/access/mail/{address}/forget")
async def forget_mail(address: str, context: ContextOf, sent: SentOf) -> Response:
    """Forgets what was set for an address."""
    await recipients.remove(address, context, sent.visitor.actor)
    return notices.done("/access/mail", "mail-forgotten")


@router.get("/access/calendar")
async def show_calendar(context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """The links to the calendar feed."""
    found: LinkList = await calendar.list_all(context, visitor.actor)
    return page("calendar.html", visitor, found=found, done=DONE.get(done, ""))


@router.post("/access/calendar")
async def make_link(context: ContextOf, sent: SentOf) -> Response:
    """Makes a link, and shows its address this once."""
    made = await calendar.create(context, sent.visitor.actor)
    return page(
        "shown_once.html",
        sent.visitor,
        title="A calendar link",
        what="The address to subscribe to",
        secret=made.url,
        text="Add it in your calendar as a subscription by URL. Whoever has it sees what is pending, and can change "
        "nothing.",
        back="/access/calendar",
    )


@router.post("/access/calendar/{link}/revoke")
async def revoke_link(link: str, context: ContextOf, sent: SentOf) -> Response:
    """Ends a link."""
    await calendar.revoke(link, context, sent.visitor.actor)
    return notices.done("/access/calendar", "link-revoked")


def patterns(text: str) -> list[str]:
    """The types of events in a field, with spaces or commas between."""
    return text.replace(",", " ").split()
