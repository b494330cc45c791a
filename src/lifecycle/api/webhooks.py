"""/v1/webhooks: where events are posted to."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from lifecycle import clock, ids
from lifecycle.api import telling
from lifecycle.api.context import ActorOf, Context, ContextOf, IdempotencyKey, require
from lifecycle.api.deliveries import start
from lifecycle.api.shapes.notifications import (
    CreatedWebhook,
    DeliveryAnswer,
    NewWebhook,
    ReplayAnswer,
    Rotation,
    WebhookAnswer,
    WebhookChange,
    WebhookList,
    WebhookReplay,
    created_webhook,
    webhook_answer,
)
from lifecycle.clock import rfc3339
from lifecycle.db import Connection
from lifecycle.errors import Code, LifecycleError, shown
from lifecycle.ledger.entry import Entry
from lifecycle.models import Actor, Role
from lifecycle.notifications import events, replay_store, standard_webhooks, store, targets_store
from lifecycle.notifications.look_ups import LookUpsBusyError
from lifecycle.notifications.model import Channel, Replay, WebhookState
from lifecycle.notifications.replay_store import Missed
from lifecycle.notifications.targets_store import Webhook
from lifecycle.notifications.webhooks import AddressRefusedError, UrlRefusedError, check_name, check_url, origin

router = APIRouter(prefix="/v1/webhooks", tags=["notifications"])

WebhookRef = Annotated[str, Path(max_length=40, examples=["whk_01kahv3q5jc1s6v0n8w2k4m7xz"])]

_MOST = 20
# How long the former secret goes on signing beside the new one, for receivers to be changed.
_OVERLAP = timedelta(hours=24)
_LOOK_UP_SECONDS = 2
_BY_HAND = "Somebody disabled it."


@router.post("", status_code=201, summary="Add a webhook")
async def create(
    body: NewWebhook, context: ContextOf, actor: ActorOf, idempotency_key: IdempotencyKey = None
) -> CreatedWebhook:
    """Adds a webhook and shows its secret this once. Needs the role administrator.

    Events are posted as Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature` can be verified
    with any library of that name. An event may come more than once, always with the same `webhook-id`, and in any
    order. Anything but a 2xx within `LIFECYCLE_WEBHOOK_TIMEOUT` is tried again for `LIFECYCLE_NOTIFICATION_RETRY_SPAN`.
    """
    require(actor, Role.ADMINISTRATOR)
    await _check(context, actor, body.url)
    key = idempotency_key
    webhook = ids.new("whk") if key is None else ids.derived("whk", actor.workspace, actor.key, key, body.url)
    secret, now = standard_webhooks.new_secret(), clock.now()
    hook = Webhook(
        id=webhook,
        workspace=actor.workspace,
        url=body.url,
        description=body.description,
        events=body.events,
        sealed_secret=context.vault.seal(secret.encode(), bound_to=targets_store.bound_to(webhook)),
        sealed_former=None,
        former_until=None,
        state=WebhookState.ENABLED,
        reason="",
        failing_since=None,
        resting_until=None,
        created_at=now,
        created_by=actor.person,
    )

    async def work(connection: Connection) -> tuple[Webhook, Sequence[str]]:
        count = await targets_store.count_webhooks(connection, actor.workspace)
        existing = await targets_store.locked_webhook(connection, webhook, workspace=actor.workspace)
        if existing is not None:
            return existing, ()
        if count >= _MOST:
            raise LifecycleError(Code.TOO_MANY_WEBHOOKS, limit=str(_MOST))
        await targets_store.insert_webhook(connection, hook)
        return hook, await telling.record(context, connection, _entry("webhook.created", hook, actor))

    stored, told = await context.db.transaction(work)
    await telling.tell(context, told)
    opened = context.vault.open(stored.sealed_secret, bound_to=targets_store.bound_to(webhook))
    return created_webhook(stored, opened.decode())


@router.get("", summary="List webhooks")
async def list_all(context: ContextOf, actor: ActorOf) -> WebhookList:
    """Lists the webhooks of the workspace, newest first. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)
    found = await targets_store.webhooks(context.db, actor.workspace)
    return WebhookList(items=tuple(webhook_answer(one) for one in found))


@router.get("/{webhook}", summary="Show a webhook")
async def show(webhook: WebhookRef, context: ContextOf, actor: ActorOf) -> WebhookAnswer:
    """Shows a webhook, and why it is disabled if it is. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)
    return webhook_answer(await _find(context, actor, webhook))


@router.patch("/{webhook}", summary="Change a webhook")
async def change(webhook: WebhookRef, body: WebhookChange, context: ContextOf, actor: ActorOf) -> WebhookAnswer:
    """Changes a webhook, disables it, or enables it again. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)
    if body.url is not None:
        await _check(context, actor, body.url)

    def changed(hook: Webhook) -> Webhook:
        if body.url not in (None, hook.url):  # what failed there says nothing of the new place
            hook = hook._replace(failing_since=None, resting_until=None)
        hook = hook._replace(
            url=hook.url if body.url is None else body.url,
            description=hook.description if body.description is None else body.description,
            events=hook.events if body.events is None else body.events,
        )
        if body.enabled is None or body.enabled is (hook.state is WebhookState.ENABLED):
            return hook
        if body.enabled:
            return hook._replace(state=WebhookState.ENABLED, reason="", failing_since=None, resting_until=None)
        return hook._replace(state=WebhookState.DISABLED, reason=_BY_HAND)

    async def work(connection: Connection) -> tuple[Webhook, Sequence[str]]:
        hook = changed(await _locked(connection, actor, webhook))
        await targets_store.update_webhook(connection, hook)
        return hook, await telling.record(context, connection, _entry("webhook.changed", hook, actor))

    hook, told = await context.db.transaction(work)
    await telling.tell(context, told)
    return webhook_answer(hook)


@router.post("/{webhook}/rotate", summary="Give a webhook a new secret")
async def rotate(
    webhook: WebhookRef, context: ContextOf, actor: ActorOf, body: Rotation | None = None
) -> CreatedWebhook:
    """Makes a new secret and shows it this once; the former one signs too for a day. Needs the role administrator.

    While a former secret still signs it is refused, because the receiver may not have the present one yet. With `force`
    the former one ends at once.
    """
    require(actor, Role.ADMINISTRATOR)
    is_forced = body is not None and body.force
    secret, now = standard_webhooks.new_secret(), clock.now()
    sealed = context.vault.seal(secret.encode(), bound_to=targets_store.bound_to(webhook))

    async def work(connection: Connection) -> tuple[Webhook, Sequence[str]]:
        former = await _locked(connection, actor, webhook)
        if former.former_until is not None and now < former.former_until and not is_forced:
            until = rfc3339(former.former_until)
            raise LifecycleError(Code.WEBHOOK_SECRET_CHANGING, webhook=webhook, until=until)
        hook = former._replace(sealed_secret=sealed, sealed_former=former.sealed_secret, former_until=now + _OVERLAP)
        await targets_store.update_webhook(connection, hook)
        return hook, await telling.record(context, connection, _entry("webhook.rotated", hook, actor))

    hook, told = await context.db.transaction(work)
    await telling.tell(context, told)
    return created_webhook(hook, secret)


@router.post("/{webhook}/replay", status_code=202, summary="Send again what a webhook has missed")
async def replay(
    webhook: WebhookRef, context: ContextOf, actor: ActorOf, body: WebhookReplay | None = None
) -> ReplayAnswer:
    """Delivers again, oldest first, what was given up or held while it was disabled. Needs the role administrator.

    Each message keeps its `webhook-id`. What is on its way or was delivered is not sent again, nor are tests; who asks
    again gets only what has failed once more.
    """
    require(actor, Role.ADMINISTRATOR)
    hook = await _find(context, actor, webhook)
    if hook.state is not WebhookState.ENABLED:
        raise LifecycleError(Code.WEBHOOK_DISABLED, webhook=webhook)
    asked, now = body or WebhookReplay(), clock.now()
    since = asked.since or now - context.settings.notification_keep
    message = Replay(actor=actor, now=now, webhook=hook.id, since=since, states=asked.states)
    count = await replay_store.count_missed(context.db, Missed(hook.id, message.states, since, now))
    await context.client.replay(message)
    return ReplayAnswer(deliveries=count, since=since)


@router.post("/{webhook}/test", status_code=202, summary="Try a webhook")
async def test(webhook: WebhookRef, context: ContextOf, actor: ActorOf) -> DeliveryAnswer:
    """Sends `webhook.test`, whatever its filter lets through; look at the delivery. Needs the role administrator.

    A disabled webhook is tried too, once.
    """
    require(actor, Role.ADMINISTRATOR)
    hook = await _find(context, actor, webhook)
    entry = _entry(events.TEST, hook, actor)
    body = events.message(
        entry.action, rfc3339(entry.at), {"event": entry.id, "workspace": hook.workspace, "actor": actor.person}
    )
    delivery = store.new(entry, Channel.WEBHOOK, hook.id, body=body, now=entry.at)
    await context.db.transaction(lambda connection: store.insert(connection, delivery))
    return await start(context, actor, delivery.id)


@router.delete("/{webhook}", status_code=204, summary="Remove a webhook")
async def remove(webhook: WebhookRef, context: ContextOf, actor: ActorOf) -> None:
    """Removes a webhook; its deliveries stay listed, and what waits is given up. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)

    async def work(connection: Connection) -> Sequence[str]:
        hook = await _locked(connection, actor, webhook)
        await targets_store.delete_webhook(connection, hook.id)
        return await telling.record(context, connection, _entry("webhook.deleted", hook, actor))

    await telling.tell(context, await context.db.transaction(work))


async def _find(context: Context, actor: Actor, webhook: str) -> Webhook:
    hook = await targets_store.find_webhook(context.db, webhook, workspace=actor.workspace)
    if hook is None:
        raise LifecycleError(Code.WEBHOOK_NOT_FOUND, webhook=shown(webhook))
    return hook


async def _locked(connection: Connection, actor: Actor, webhook: str) -> Webhook:
    hook = await targets_store.locked_webhook(connection, webhook, workspace=actor.workspace)
    if hook is None:
        raise LifecycleError(Code.WEBHOOK_NOT_FOUND, webhook=shown(webhook))
    return hook


async def _check(context: Context, actor: Actor, url: str) -> None:
    """Refuse what would never be sent to. It is looked at again whenever something is sent."""
    private = context.settings.webhook_private_networks
    try:
        check_url(url, private)
        with suppress(TimeoutError, LookUpsBusyError):
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                await check_name(url, private, context.look_ups, owner=actor.workspace)
    except (UrlRefusedError, AddressRefusedError) as error:
        raise LifecycleError(Code.WEBHOOK_URL_REFUSED, problem=shown(str(error)), field="url") from error


def _entry(action: str, hook: Webhook, actor: Actor) -> Entry:
    return Entry(
        id=ids.new("aud"),
        sequence=0,
        workspace=hook.workspace,
        action=action,
        actor=actor,
        at=clock.now(),
        detail={"webhook": hook.id, "url": origin(hook.url), "events": list(hook.events), "state": hook.state.value},
    )
