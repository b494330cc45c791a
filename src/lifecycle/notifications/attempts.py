"""One attempt of a delivery, and what is written down of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle import clock
from lifecycle.clock import rfc3339
from lifecycle.db import Connection, Database
from lifecycle.ledger import store as ledger_store
from lifecycle.ledger.entry import Entry
from lifecycle.notifications import events, rules, standard_webhooks, store, targets_store
from lifecycle.notifications.mail import Mail, Post
from lifecycle.notifications.model import Channel, Noted, Outcome, State, Verdict, WebhookState
from lifecycle.notifications.rules import Patience
from lifecycle.notifications.store import Delivery
from lifecycle.notifications.targets_store import Webhook
from lifecycle.notifications.webhooks import Said, Turns, Webhooks
from lifecycle.vault import Vault, VaultError

_GIVEN_UP = "Given up after {count} attempts. The last one: {why}"
_ENDED = "The webhook is disabled or was removed."
_MAIL_SERVER = "mail"
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


async def attempt(outside: Outside, *, delivery: str, generation: int) -> Verdict:
    """Try once, if the delivery still waits at this generation.

    Raises:
        DatabaseDownError: it was not tried.
    """
    began = clock.now()
    row = await store.find(outside.db, delivery)
    if row is None or row.generation != generation or row.state is not State.PENDING:
        return Verdict(outcome=Outcome.STALE, at=began)
    if row.channel is Channel.MAIL:
        post = Post(row.id, row.target, row.body, await _project(outside.db, row), row.created_at)
        async with outside.turns.turn(_MAIL_SERVER) as has_turn:
            said = await outside.mail.send(post) if has_turn else Said(Outcome.BUSY)
    else:
        hook = await targets_store.find_webhook(outside.db, row.target, workspace=row.workspace)
        if hook is None or hook.state is not WebhookState.ENABLED:
            said = Said(Outcome.ENDED, _ENDED)
        else:
            async with outside.turns.turn(hook.id) as has_turn:
                said = await _post(outside, row, hook) if has_turn else Said(Outcome.BUSY)
    ended = clock.now()
    return Verdict(
        outcome=said.outcome,
        at=ended,
        took_ms=(ended - began) // timedelta(milliseconds=1),
        status=said.status,
        detail=said.detail,
        retry_after_seconds=said.retry_after_seconds,
    )


async def note(db: Database, mark: Mark, verdict: Verdict, patience: Patience, *, mail: bool) -> Noted:
    """Write down what an attempt came to, and what follows; nothing if another message has taken over.

    Raises:
        DatabaseDownError: it is not known whether it was written; doing so again is safe.
    """

    async def work(connection: Connection) -> Noted:
        row = await store.locked(connection, mark.delivery)
        if row is None:
            return Noted()
        if verdict.outcome not in _NO_ATTEMPT:
            await store.note(connection, row, verdict, generation=mark.generation)
        if row.generation != mark.generation:  # this was written before, or somebody wants it sent again
            return Noted(generation=row.generation, again_at=row.next_attempt_at)
        if verdict.outcome is Outcome.BUSY:
            again_at = rules.next_turn(verdict.at, waits=mark.waits, jitter=mark.jitter)
            return await _settle(connection, row, verdict, State.PENDING, row.last_error, again_at)
        if verdict.outcome is Outcome.ENDED:
            return await _settle(connection, row, verdict, State.FAILED, verdict.detail, None)
        if verdict.outcome is Outcome.DELIVERED:
            if row.channel is Channel.WEBHOOK:
                await targets_store.note_success(connection, row.target)
            return await _settle(connection, row, verdict, State.DELIVERED, "", None)
        attempts = row.attempts + 1
        next_at = rules.next_attempt(verdict, patience, attempts=attempts, since=row.since, jitter=mark.jitter)
        state = State.FAILED if next_at is None else State.PENDING
        error = verdict.detail if next_at else _GIVEN_UP.format(count=attempts, why=verdict.detail)
        noted = await _settle(connection, row, verdict, state, error, next_at)
        others = await _blame(connection, row, verdict, patience, is_over=next_at is None, mail=mail)
        return noted.model_copy(update={"others": others})

    return await db.transaction(work)


async def _post(outside: Outside, row: Delivery, hook: Webhook) -> Said:
    now, bound_to = clock.now(), targets_store.bound_to(hook.id)
    sealed = [hook.sealed_secret]
    if hook.sealed_former is not None and hook.former_until is not None and now < hook.former_until:
        sealed.append(hook.sealed_former)
    try:
        opened = [outside.vault.open(one, bound_to=bound_to).decode() for one in sealed]
    except VaultError as error:
        return Said(Outcome.FAILED, f"Its secret cannot be opened: {error}.")
    body = row.body.encode()
    return await outside.webhooks.post(
        hook.url, standard_webhooks.headers(row.id, body, at=now, signed_by=opened), body
    )


async def _project(db: Database, row: Delivery) -> str:
    return "" if row.project is None else await store.project_name(db, row.project)


async def _settle(
    connection: Connection, row: Delivery, verdict: Verdict, state: State, error: str, next_at: datetime | None
) -> Noted:
    generation = await store.settle(connection, row, state=state, error=error, next_at=next_at, at=verdict.at)
    return Noted(generation=generation, again_at=next_at)


async def _blame(
    connection: Connection, row: Delivery, verdict: Verdict, patience: Patience, *, is_over: bool, mail: bool
) -> Sequence[str]:
    """Hold a failure against the webhook; disable it after too many. Returns the deliveries that tell of it."""
    if row.channel is not Channel.WEBHOOK:
        return ()
    await targets_store.note_failure(connection, row.target, verdict.at)
    hook = await targets_store.locked_webhook(connection, row.target, workspace=row.workspace)
    if hook is None or hook.state is not WebhookState.ENABLED or hook.failing_since is None:
        return ()
    is_gone = verdict.outcome is Outcome.GONE
    is_given_up = is_over and rules.is_given_up(patience, failing_since=hook.failing_since, now=verdict.at)
    if not is_gone and not is_given_up:
        return ()
    why = verdict.detail if is_gone else f"It has failed since {rfc3339(hook.failing_since)}. {verdict.detail}"
    disabled = hook._replace(state=WebhookState.DISABLED, reason=why)
    await targets_store.update_webhook(connection, disabled)
    entry = Entry(
        id=f"{hook.id}.disabled.{row.id}.{row.generation}",
        sequence=1,
        workspace=hook.workspace,
        action=events.DISABLED,
        at=verdict.at,
        detail={"webhook": hook.id, "url": hook.url, "reason": why},
    )
    told = await store.enqueue(connection, [entry], mail=mail, now=verdict.at)
    await ledger_store.record(connection, [entry])
    return told.get(entry.id, ())
