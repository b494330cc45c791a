"""Notifier: carries each delivery to its target, for days if need be. Outbox: starts what waits.

    Ledger.record ──> Notifier.deliver ──delayed──> deliver ──> …        (one object per delivery)
    Outbox.resend, replay, begin ──┘
    Reconciler ──> Outbox.upkeep ──> Notifier.deliver                    (what the engine has lost)

Object key: delivery id. Nothing is kept in its state: where a delivery stands is in its row, which people see. The key
is there so that a delivery is attempted once at a time. A message carries the generation of the row, and an older one
does nothing. The handler works, and decides nothing that a person waits for; a slow target only makes its own
deliveries wait.

A worker that dies behind the attempt and before its outcome is written attempts it again, under the same id: that of
the header `webhook-id`, or the Message-ID of a mail.
"""

from datetime import timedelta

from restate import Context, ObjectContext, Service, VirtualObject

from lifecycle import clock, policies, resources
from lifecycle.db import Connection
from lifecycle.errors import Code, LifecycleError
from lifecycle.notifications import attempts, events, replay_store, store, targets_store
from lifecycle.notifications.attempts import Mark, Outside
from lifecycle.notifications.model import (
    Begin,
    Channel,
    Found,
    Noted,
    Outcome,
    Replay,
    Replayed,
    Resend,
    Resent,
    Verdict,
    Wake,
    WebhookState,
)
from lifecycle.notifications.replay_store import Missed
from lifecycle.notifications.rules import Patience

# Long after every attempt that is under way has ended.
_LOST_AFTER = timedelta(minutes=2)
_BATCH = 500
_REPLAYED_AT_ONCE = 200
# So many a second, that they do not all ask for a turn at once. Each batch is due when it begins again, and all of it
# is on its way within the time after which a delivery counts as lost.
_REPLAY_SPACING = timedelta(milliseconds=20)

notifier = VirtualObject(
    "Notifier",
    description="Carries deliveries to webhooks and mail servers.",
    ingress_private=True,
    journal_retention=timedelta(0),  # the attempts are in the database
    invocation_retry_policy=policies.DECISION.invocations(),
)
outbox = Service(
    "Outbox",
    description="Starts deliveries: again on request, and when the engine has lost them.",
    journal_retention=timedelta(0),
    invocation_retry_policy=policies.DATABASE.invocations(),
)


@notifier.handler()
async def deliver(ctx: ObjectContext, wake: Wake) -> None:
    """Attempt a delivery; after a failure, come back later."""
    verdict = await ctx.run_typed(
        "attempt",
        _attempt,
        policies.DATABASE.options(Verdict),
        delivery=ctx.key(),
        generation=wake.generation,
        asked=wake.asked,
    )
    if verdict.outcome is Outcome.STALE:
        return
    mark = Mark(ctx.key(), wake.generation, wake.waits, ctx.random().random())
    noted = await ctx.run_typed("note", _note, policies.DATABASE.options(Noted), mark=mark, verdict=verdict)
    if noted.again_at is not None:
        waits = wake.waits + 1 if verdict.outcome is Outcome.BUSY else 0
        again = Wake(generation=noted.generation, waits=waits, asked=wake.asked and verdict.outcome is Outcome.BUSY)
        ctx.object_send(deliver, ctx.key(), again, send_delay=clock.until(noted.again_at))
    for other in noted.others:
        ctx.object_send(deliver, other, Wake(generation=1))


@outbox.handler()
async def resend(ctx: Context, message: Resend) -> Resent:
    """Deliver again from the beginning, whatever became of it."""
    revived = await ctx.run_typed("revive", _revive, policies.DATABASE.options(Resent), message=message)
    if revived.refused:
        raise LifecycleError(Code(revived.refused), delivery=message.delivery, webhook=revived.webhook)
    ctx.object_send(deliver, message.delivery, Wake(generation=revived.generation, asked=True))
    return revived


@outbox.handler()
async def replay(ctx: Context, message: Replay) -> None:
    """Deliver again what a webhook has missed, in batches; what was delivered or is on its way is left alone."""
    begun = await ctx.run_typed("revive-missed", _revive_missed, policies.DATABASE.options(Replayed), message=message)
    if begun.refused:
        raise LifecycleError(Code(begun.refused), webhook=message.webhook)
    for number, one in enumerate(begun.deliveries):
        wake = Wake(generation=one.generation, asked=message.after == 0 and number == 0)
        ctx.object_send(deliver, one.delivery, wake, send_delay=_REPLAY_SPACING * number or None)
    if begun.after is not None:
        more = message.model_copy(update={"after": begun.after})
        ctx.service_send(replay, more, send_delay=_REPLAY_SPACING * len(begun.deliveries))


@outbox.handler()
async def begin(ctx: Context, message: Begin) -> None:
    """Have deliveries begin that were just written."""
    for delivery in message.deliveries:
        ctx.object_send(deliver, delivery, Wake(generation=1))


@outbox.handler(ingress_private=True)
async def upkeep(ctx: Context) -> None:
    """Start what is due and was lost, and forget what is over since long."""
    found = await ctx.run_typed("look", _look, policies.LOOK.options(Found))
    for lost in found.lost:
        ctx.object_send(deliver, lost.delivery, Wake(generation=lost.generation))


async def _attempt(delivery: str, generation: int, *, asked: bool) -> Verdict:
    return await attempts.attempt(_outside(), delivery=delivery, generation=generation, asked=asked)


async def _note(mark: Mark, verdict: Verdict) -> Noted:
    available = resources.current()
    settings = available.settings
    patience = Patience(
        first=settings.notification_retry_first,
        span=settings.notification_retry_span,
        disable_after=settings.webhook_disable_after,
    )
    return await attempts.note(available.db, mark, verdict, patience, mail=available.mail.is_set_up)


async def _revive(message: Resend) -> Resent:
    db, not_found = resources.current().db, Resent(generation=0, refused=Code.DELIVERY_NOT_FOUND.value)
    found = await store.find(db, message.delivery, workspace=message.actor.workspace)
    if found is None:
        return not_found

    async def work(connection: Connection) -> Resent:
        # The webhook before the delivery, as everybody who takes both.
        if found.channel is Channel.WEBHOOK:
            hook = await targets_store.locked_webhook(connection, found.target, workspace=found.workspace)
            if hook is None or (hook.state is not WebhookState.ENABLED and found.event_type != events.TEST):
                return Resent(generation=0, refused=Code.WEBHOOK_DISABLED.value, webhook=found.target)
        row = await store.locked(connection, found.id)
        if row is None:
            return not_found
        return Resent(generation=await store.revive(connection, row, since=message.now, due=clock.now()))

    return await db.transaction(work)


async def _revive_missed(message: Replay) -> Replayed:
    missed = Missed(message.webhook, message.states, message.since, message.now)

    async def work(connection: Connection) -> Replayed:
        hook = await targets_store.locked_webhook(connection, missed.webhook, workspace=message.actor.workspace)
        if hook is None or hook.state is not WebhookState.ENABLED:
            return Replayed(refused=Code.WEBHOOK_DISABLED.value)
        begun, after = await replay_store.revive_missed(
            connection, missed, due=clock.now(), after=message.after, limit=_REPLAYED_AT_ONCE
        )
        return Replayed(deliveries=tuple(begun), after=after)

    return await resources.current().db.transaction(work)


async def _look() -> Found:
    available, now = resources.current(), clock.now()
    await store.forget(available.db, before=now - available.settings.notification_keep, limit=_BATCH)
    return Found(lost=tuple(await store.lost(available.db, before=now - _LOST_AFTER, now=now, limit=_BATCH)))


def _outside() -> Outside:
    available = resources.current()
    return Outside(available.db, available.vault, available.webhooks, available.mail, available.turns)
