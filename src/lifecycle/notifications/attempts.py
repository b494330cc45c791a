"""One attempt of a delivery, and what is written down of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle import clock
from lifecycle.clock import rfc3339
from lifecycle.db import Connection, Database
from lifecycle.ledger import recording
from lifecycle.ledger.entry import Entry
from lifecycle.notifications import events, rules, standard_webhooks, store, targets_store
from lifecycle.notifications.mail import Mail, Post
from lifecycle.notifications.model import Channel, Noted, Outcome, State, Verdict, WebhookState
from lifecycle.notifications.rules import Patience
from lifecycle.notifications.store import Delivery
from lifecycle.notifications.targets_store import Webhook
from lifecycle.notifications.webhooks import AT_ONCE, Said, Turn, Turns, Webhooks, origin
from lifecycle.vault import Vault, VaultError

_GIVEN_UP = "Given up after {count} attempts. The last one: {why}"
_REMOVED = "The webhook was removed."
_UNWANTED = "Nobody wants mail about this at the address any more."
_MAIL_SERVER = "mail"
_MAILS_AT_ONCE = 4  # of one workspace
_NO_ATTEMPT = (Outcome.BUSY, Outcome.ENDED)


class Outside(NamedTuple):
    """What attempts need of the world.

    Attributes:
        turns: those of this process.
    """

    db: Database
    vault: Vault
    webhooks: Webhooks
    mail: Mail
    turns: Turns


class Mark(NamedTuple):
    """Which attempt it was, and of whose patience.

    Attributes:
        waits: how often it did not have its turn so far.
        jitter: from 0 to 1.
    """

    delivery: str
    generation: int
    waits: int
    jitter: float


async def attempt(outside: Outside, *, delivery: str, generation: int, asked: bool) -> Verdict:
    """Try once, if the delivery still waits at this generation.

    Args:
        outside: the world.
        delivery: its id.
        generation: of the message.
        asked: whether somebody wants it now, even though the target failed a moment ago.

    Raises:
        DatabaseDownError: it was not tried.
    """
    began = clock.now()
    row = await store.find(outside.db, delivery)
    if row is None or row.generation != generation or row.state is not State.PENDING:
        return Verdict(outcome=Outcome.STALE, at=began)
    if row.channel is Channel.MAIL:
        verdict = await _mailed(outside, row)
    else:
        verdict = await _posted(outside, row, began, asked=asked)
    ended = clock.now()
    return verdict.model_copy(update={"at": ended, "took_ms": (ended - began) // timedelta(milliseconds=1)})


async def note(db: Database, mark: Mark, verdict: Verdict, patience: Patience, *, mail: bool) -> Noted:
    """Write down what an attempt came to, and what follows; nothing if another message has taken over.

    Raises:
        DatabaseDownError: it is not known whether it was written; doing so again is safe.
    """
    found = await store.find(db, mark.delivery)
    if found is None:
        return Noted()

    async def work(connection: Connection) -> Noted:
        # The webhook before the delivery, as everybody who takes both.
        hook = None if verdict.outcome is Outcome.BUSY else await _locked_hook(connection, found)
        row = await store.locked(connection, mark.delivery)
        if row is None:
            return Noted()
        if verdict.outcome not in _NO_ATTEMPT:
            await store.note(connection, row, verdict, generation=mark.generation)
        if row.generation != mark.generation:  # this was written before, or somebody wants it sent again
            return Noted(generation=row.generation, again_at=row.next_attempt_at)
        if verdict.outcome is Outcome.BUSY:
            again_at = await _next_turn(connection, row, mark, verdict)
            return await _settle(connection, row, verdict, State.PENDING, row.last_error, again_at)
        if verdict.outcome is Outcome.ENDED:
            return await _end(connection, row, verdict, hook)
        if verdict.outcome is Outcome.DELIVERED:
            if hook is not None:
                await targets_store.note_success(connection, hook.id)
            return await _settle(connection, row, verdict, State.DELIVERED, "", None)
        next_at = rules.next_attempt(verdict, patience, failures=row.failures + 1, since=row.since, jitter=mark.jitter)
        noted = await _fail(connection, row, verdict, next_at)
        others = await _blame(connection, row, verdict, patience, hook, is_over=next_at is None, mail=mail)
        return noted.model_copy(update={"others": others})

    return await db.transaction(work)


async def _mailed(outside: Outside, row: Delivery) -> Verdict:
    """Send a mail, if the address still wants it, and it is the turn of its workspace and of the installation."""
    patterns = await targets_store.patterns_of(outside.db, row.workspace, row.target)
    if not events.matches(patterns, row.event_type):
        return _verdict(Said(Outcome.ENDED, _UNWANTED))
    post = Post(row.id, row.target, row.body, await _project(outside.db, row), row.created_at)
    async with outside.turns.turn(f"{_MAIL_SERVER} {row.workspace}", at_once=_MAILS_AT_ONCE) as own:
        if not own.is_ours:
            return _busy(own)
        async with outside.turns.turn(_MAIL_SERVER) as common:
            return _verdict(await outside.mail.send(post)) if common.is_ours else _busy(common)


async def _posted(outside: Outside, row: Delivery, now: datetime, *, asked: bool) -> Verdict:
    """Post to a webhook, if it is enabled, or somebody tries whether it works."""
    hook = await targets_store.find_webhook(outside.db, row.target, workspace=row.workspace)
    if hook is None:
        return _verdict(Said(Outcome.ENDED, _REMOVED))
    is_enabled = hook.state is WebhookState.ENABLED
    if not is_enabled and row.event_type != events.TEST:
        return Verdict(outcome=Outcome.ENDED, at=now, disabled=True)
    if hook.resting_until is not None and now < hook.resting_until and not asked:
        rest = hook.resting_until - now
        return Verdict(outcome=Outcome.BUSY, at=now, seconds_each=rest.total_seconds(), not_before=hook.resting_until)
    async with outside.turns.turn(hook.id) as turn:
        if not turn.is_ours:
            return _busy(turn)
        said = await _post(outside, row, hook)
    return _verdict(said).model_copy(update={"last": not is_enabled})


async def _post(outside: Outside, row: Delivery, hook: Webhook) -> Said:
    now, bound_to = clock.now(), targets_store.bound_to(hook.id)
    sealed = [hook.sealed_secret]
    if hook.sealed_former is not None and hook.former_until is not None and now < hook.former_until:
        sealed.append(hook.sealed_former)
    try:
        opened = [outside.vault.open(one, bound_to=bound_to).decode() for one in sealed]
    except VaultError as error:
        return Said(Outcome.FAILED, f"Its secret cannot be opened: {error}.", ours=True)
    body = row.body.encode()
    return await outside.webhooks.post(
        hook.url,
        standard_webhooks.headers(row.id, body, at=now, signed_by=opened),
        body,
        owner=hook.workspace,
    )


def _verdict(said: Said) -> Verdict:
    return Verdict(**said._asdict(), at=clock.now())


def _busy(turn: Turn) -> Verdict:
    return Verdict(outcome=Outcome.BUSY, at=clock.now(), seconds_each=turn.seconds_each)


async def _next_turn(connection: Connection, row: Delivery, mark: Mark, verdict: Verdict) -> datetime:
    backlog = await store.backlog(connection, row)
    at_once = AT_ONCE if row.channel is Channel.WEBHOOK else _MAILS_AT_ONCE
    return rules.next_turn(verdict, waits=mark.waits, backlog=backlog, at_once=at_once, jitter=mark.jitter)


async def _project(db: Database, row: Delivery) -> str:
    return "" if row.project is None else await store.project_name(db, row.project)


async def _locked_hook(connection: Connection, row: Delivery) -> Webhook | None:
    if row.channel is not Channel.WEBHOOK:
        return None
    return await targets_store.locked_webhook(connection, row.target, workspace=row.workspace)


async def _settle(
    connection: Connection, row: Delivery, verdict: Verdict, state: State, error: str, next_at: datetime | None
) -> Noted:
    generation = await store.settle(
        connection,
        row,
        state=state,
        error=error,
        next_at=next_at,
        at=verdict.at,
        failed=verdict.outcome is Outcome.FAILED,
    )
    return Noted(generation=generation, again_at=next_at)


async def _end(connection: Connection, row: Delivery, verdict: Verdict, hook: Webhook | None) -> Noted:
    """Try it no more; when its webhook is disabled, until somebody wants it sent."""
    if not verdict.disabled or hook is None:
        return await _settle(connection, row, verdict, State.FAILED, verdict.detail or _REMOVED, None)
    if hook.state is WebhookState.ENABLED:  # since it was looked at
        return await _settle(connection, row, verdict, State.PENDING, row.last_error, verdict.at)
    return await _settle(connection, row, verdict, State.HELD, store.WHILE_DISABLED, None)


async def _fail(connection: Connection, row: Delivery, verdict: Verdict, next_at: datetime | None) -> Noted:
    state = State.FAILED if next_at is None else State.PENDING
    given_up = _GIVEN_UP.format(count=row.attempts + 1, why=verdict.detail)
    was_only_tried = verdict.last and not row.failures
    error = verdict.detail if next_at or was_only_tried else given_up
    return await _settle(connection, row, verdict, state, error, next_at)


async def _blame(
    connection: Connection,
    row: Delivery,
    verdict: Verdict,
    patience: Patience,
    hook: Webhook | None,
    *,
    is_over: bool,
    mail: bool,
) -> Sequence[str]:
    """Hold a failure against a locked webhook; disable it after too many. Returns the deliveries that tell of it."""
    if verdict.ours or hook is None or hook.state is not WebhookState.ENABLED:
        return ()
    since = hook.failing_since or verdict.at
    resting_until = rules.rest_until(failing_since=since, now=verdict.at)
    await targets_store.note_failure(connection, hook.id, since=since, resting_until=resting_until)
    is_gone = verdict.outcome is Outcome.GONE
    is_given_up = is_over and rules.is_given_up(patience, failing_since=since, now=verdict.at)
    if not is_gone and not is_given_up:
        return ()
    why = verdict.detail if is_gone else f"It has failed since {rfc3339(since)}. {verdict.detail}"
    disabled = hook._replace(state=WebhookState.DISABLED, reason=why, failing_since=since, resting_until=None)
    await targets_store.update_webhook(connection, disabled)
    entry = Entry(
        id=f"{hook.id}.disabled.{row.id}.{row.generation}",
        sequence=1,
        workspace=hook.workspace,
        action=events.DISABLED,
        at=verdict.at,
        detail={"webhook": hook.id, "url": origin(hook.url), "reason": why},
    )
    told = await recording.record(connection, [entry], mail=mail, now=verdict.at)
    return told.get(entry.id, ())
