"""Webhooks and deliveries: where events are posted to, what was sent, and once more."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BeforeValidator

from lifecycle.api import deliveries, webhooks
from lifecycle.api.context import Context, ContextOf
from lifecycle.api.shapes.base import Asked
from lifecycle.api.shapes.notifications import NewWebhook, Rotation, WebhookAnswer, WebhookChange, WebhookList
from lifecycle.console import notices, verbs
from lifecycle.console.access import DONE, patterns
from lifecycle.console.notices import DoneOf
from lifecycle.console.pages import PageRoute, asked, page
from lifecycle.console.sessions import SentOf, Visitor, VisitorOf
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role
from lifecycle.notifications import events
from lifecycle.notifications.model import State, WebhookState

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_PER_PAGE = 50
_LAST = 10
_TRIED_WITHIN = 3.0


class Verb(StrEnum):
    """What can be done with a webhook."""

    TEST = "test"
    PAUSE = "pause"
    ENABLE = "enable"
    REPLAY = "replay"
    ROTATE = "rotate"
    ROTATE_AGAIN = "rotate-again"
    REMOVE = "remove"


class DeliveryQuery(Asked):
    """The filters of the list of deliveries, as its address has them."""

    target: str = ""
    state: Annotated[State | None, BeforeValidator(lambda text: text or None)] = None
    type: str = ""
    project: str = ""
    cursor: str = ""

    @property
    def chosen(self) -> dict[str, str]:
        """Those that are set, but for the page."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value and name != "cursor"}


@router.get("/access/webhooks")
async def show_all(context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """The webhooks of the workspace."""
    found: WebhookList | None = None
    if visitor.actor.role.includes(Role.ADMINISTRATOR):
        found = await webhooks.list_all(context, visitor.actor)
    return page("webhooks.html", visitor, found=found, families=sorted(events.FAMILIES), done=DONE.get(done, ""))


@router.post("/access/webhooks")
async def add(context: ContextOf, sent: SentOf) -> Response:
    """Adds a webhook, and shows its secret this once."""
    body = asked(
        lambda: NewWebhook.model_validate(
            {
                "url": sent.get("url"),
                "description": sent.get("description"),
                "events": patterns(sent.get("events")) or ["*"],
            }
        )
    )
    made = await webhooks.create(body, context, sent.visitor.actor)
    return _secret(sent.visitor, made.id, made.url, made.secret)


@router.get("/access/webhooks/{webhook}")
async def show(webhook: str, context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """One webhook with its last deliveries."""
    hook = await webhooks.show(webhook, context, visitor.actor)
    sent_there = await deliveries.list_all(context, visitor.actor, deliveries.Wanted(target=hook.id, limit=_LAST))
    return page(
        "webhook.html",
        visitor,
        hook=hook,
        items=sent_there.items,
        families=sorted(events.FAMILIES),
        urls={hook.id: hook.url},
        done=DONE.get(done, "") if _is_so(done, hook) else "",
    )


@router.post("/access/webhooks/{webhook}/change")
async def change(webhook: str, context: ContextOf, sent: SentOf) -> Response:
    """Changes where it posts, what it is called, or what it gets."""
    body = asked(
        lambda: WebhookChange.model_validate(
            {
                "url": sent.get("url"),
                "description": sent.get("description"),
                "events": patterns(sent.get("events")) or ["*"],
            }
        )
    )
    await webhooks.change(webhook, body, context, sent.visitor.actor)
    return notices.done(f"/access/webhooks/{webhook}", "changed")


@router.post("/access/webhooks/{webhook}/{verb}")
async def act(webhook: str, verb: str, context: ContextOf, sent: SentOf) -> Response:
    """Tries, pauses, enables or removes it, gives it another secret, or sends again what it has missed."""
    actor, there = sent.visitor.actor, f"/access/webhooks/{webhook}"
    match wanted := verbs.known(Verb, verb, there):
        case Verb.TEST:
            made = await webhooks.test(webhook, context, actor)
            await _tried(context, actor, made.id, before=0)
            return notices.done(f"/access/deliveries/{made.id}", "sending")
        case Verb.PAUSE:
            await webhooks.change(webhook, WebhookChange(enabled=False), context, actor)
            return notices.done(there, "paused")
        case Verb.ENABLE:
            await webhooks.change(webhook, WebhookChange(enabled=True), context, actor)
            return notices.done(there, "enabled")
        case Verb.REPLAY:
            await webhooks.replay(webhook, context, actor)
            return notices.done(there, "replayed")
        case Verb.ROTATE | Verb.ROTATE_AGAIN:
            rotation = Rotation(force=wanted is Verb.ROTATE_AGAIN)
            rotated = await webhooks.rotate(webhook, context, actor, rotation)
            return _secret(sent.visitor, rotated.id, rotated.url, rotated.secret)
        case Verb.REMOVE:
            await webhooks.remove(webhook, context, actor)
            return notices.done("/access/webhooks", "removed")


@router.get("/access/webhooks/{webhook}/{verb}")
async def confirm(webhook: str, verb: str, context: ContextOf, visitor: VisitorOf) -> Response:
    """Says what removing it, another secret, or a repetition will do, and asks."""
    wanted = verbs.known(Verb, verb, f"/access/webhooks/{webhook}")
    if wanted not in _CONFIRMED:
        raise LifecycleError(Code.NOT_FOUND, path=f"/access/webhooks/{webhook}/{verb}"[:300])
    hook = await webhooks.show(webhook, context, visitor.actor)
    title, text, button = _CONFIRMED[wanted]
    return page(
        "ask.html",
        visitor,
        title=title,
        facts=_facts(hook),
        text=text,
        button=button,
        back=f"/access/webhooks/{hook.id}",
    )


_CONFIRMED: Mapping[Verb, tuple[str, str, str]] = {
    Verb.REMOVE: (
        "Remove this webhook",
        "Nothing is sent there any more, and what waits is given up. Its deliveries stay in the list.",
        "Remove it",
    ),
    Verb.ROTATE: (
        "Give this webhook a new secret",
        "The new secret is shown once. For a day the former one signs beside it, so that receivers can be changed.",
        "Make a new secret",
    ),
    Verb.ROTATE_AGAIN: (
        "Give this webhook another new secret",
        (
            "The receiver may still have the former secret, which then ends at once: only the present one and a new "
            "one sign from then on. Do this if the present one is lost, or known to others."
        ),
        "Make another secret",
    ),
    Verb.REPLAY: (
        "Send again what this webhook has missed",
        (
            "Every message that was given up, or held while it was disabled, goes out again: the oldest first, and "
            "each under its own id. What was delivered is not sent again."
        ),
        "Send them again",
    ),
}


@router.get("/access/deliveries")
async def show_deliveries(context: ContextOf, visitor: VisitorOf, query: Annotated[DeliveryQuery, Query()]) -> Response:
    """What was sent to whom, newest first."""
    found = None
    if visitor.actor.role.includes(Role.OPERATOR):
        wanted = asked(lambda: deliveries.Wanted(**query.chosen, cursor=query.cursor or None, limit=_PER_PAGE))
        found = await deliveries.list_all(context, visitor.actor, wanted)
    return page(
        "deliveries.html",
        visitor,
        query=query,
        found=found,
        states=list(State),
        urls=await _urls(context, visitor),
    )


@router.get("/access/deliveries/{delivery}")
async def show_delivery(delivery: str, context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """One delivery with every attempt, and what is sent."""
    found = await deliveries.show(delivery, context, visitor.actor)
    return page(
        "delivery.html",
        visitor,
        delivery=found,
        body=json.dumps(found.body, indent=2, ensure_ascii=False),
        urls=await _urls(context, visitor),
        done=DONE.get(done, ""),
    )


@router.post("/access/deliveries/{delivery}/resend")
async def resend(delivery: str, context: ContextOf, sent: SentOf) -> Response:
    """Sends it again."""
    before = (await deliveries.show(delivery, context, sent.visitor.actor)).attempts
    await deliveries.resend(delivery, context, sent.visitor.actor)
    await _tried(context, sent.visitor.actor, delivery, before=before)
    return notices.done(f"/access/deliveries/{delivery}", "resending")


def _is_so(done: str, hook: WebhookAnswer) -> bool:
    """Whether what was done a moment ago still holds; others may have undone it."""
    is_enabled = hook.state is WebhookState.ENABLED
    return {"paused": not is_enabled, "enabled": is_enabled}.get(done, True)


def _secret(visitor: Visitor, webhook: str, url: str, secret: str) -> Response:
    return page(
        "shown_once.html",
        visitor,
        title=f"A secret for {url}",
        what="The signing secret",
        secret=secret,
        text="The receiver verifies with it that messages come from here, with any library for Standard Webhooks.",
        back=f"/access/webhooks/{webhook}",
    )


async def _tried(context: Context, actor: Actor, delivery: str, *, before: int) -> None:
    """Wait a moment for the attempt, so that the page that follows shows what came of it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_TRIED_WITHIN):
            while (await deliveries.show(delivery, context, actor)).attempts <= before:
                await asyncio.sleep(_TRIED_WITHIN / 20)


async def _urls(context: Context, visitor: Visitor) -> Mapping[str, str]:
    """The URL of each webhook, for those who may see it."""
    if not visitor.actor.role.includes(Role.ADMINISTRATOR):
        return {}
    return {one.id: one.url for one in (await webhooks.list_all(context, visitor.actor)).items}


def _facts(hook: WebhookAnswer) -> Mapping[str, str]:
    return {"URL": hook.url, "Gets": ", ".join(hook.events), "Added by": hook.created_by}
