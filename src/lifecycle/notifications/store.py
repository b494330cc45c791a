"""SQL: deliveries, their attempts, and who is to be told.

**The outbox**: deliveries are written in the transaction that writes the audit row of their event, and only when that
row is new. So no event is lost between the two, and the deliveries of an event are the same whenever they are read.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from lifecycle import ids
from lifecycle.db import Connection, Database, Row
from lifecycle.ledger.entry import Entry
from lifecycle.notifications import events, targets_store
from lifecycle.notifications.model import Channel, Due, Outcome, State, Verdict
from lifecycle.notifications.targets_store import Target

WHILE_DISABLED = "The webhook was disabled."
_LONGEST_ERROR = 500
_MOST_COUNTED = 5000


class Delivery(NamedTuple):
    """One event on its way to one target.

    Attributes:
        since: when the first of the present attempts was due.
        attempts: how many there were in all.
        failures: how many there were since it began, or began again.
    """

    position: int
    id: str
    workspace: str
    project: str | None
    event_id: str
    event_type: str
    channel: Channel
    target: str
    body: str
    state: State
    generation: int
    attempts: int
    failures: int
    last_error: str
    created_at: datetime
    since: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None


class Attempt(NamedTuple):
    """One attempt of a delivery."""

    at: datetime
    took_ms: int
    outcome: Outcome
    status: int | None
    detail: str


class DeliveryFilter(NamedTuple):
    """Which deliveries to list; None means any."""

    workspace: str
    target: str | None = None
    state: State | None = None
    event: str | None = None
    project: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def enqueue(
    connection: Connection, entries: Sequence[Entry], *, mail: bool, now: datetime
) -> dict[str, tuple[str, ...]]:
    """Write the deliveries of entries whose audit rows are about to be written; repeating it changes nothing.

    Args:
        connection: of the transaction that writes the audit rows, after this.
        entries: in any number; those that nobody is told of are passed over.
        mail: whether mail can be sent.
        now: the present moment, from which on deliveries are tried.

    Returns:
        The ids of the deliveries of each entry that has some, in an order that stays the same.
    """
    notable = {entry.id: entry for entry in entries if events.is_notable(entry.action)}
    if not notable:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    rows = await connection.all(
        "SELECT deliveries.event_id, deliveries.id FROM deliveries "
        "JOIN JSON_TABLE(%s, '$[*]' COLUMNS (id VARCHAR(320) PATH '$')) AS wanted "
        "ON deliveries.event_id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin "
        "ORDER BY deliveries.position",
        json.dumps(list(notable)),
    )
    for row in rows:
        found[row["event_id"]] = (*found.get(row["event_id"], ()), row["id"])
    targets = await targets_store.targets(connection, {entry.workspace for entry in notable.values()}, mail=mail)
    if targets:
        known = await connection.all(
            "SELECT audit_log.id FROM audit_log "
            "JOIN JSON_TABLE(%s, '$[*]' COLUMNS (id VARCHAR(320) PATH '$')) AS wanted "
            "ON audit_log.id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin",
            json.dumps(list(notable)),
        )
        fresh = [entry for key, entry in notable.items() if key not in {row["id"] for row in known}]
        if fresh:
            # Whoever enables it waits until this is written: nothing is held by a webhook that was enabled before.
            disabled = {one.name for one in targets if one.is_off and await _is_off(connection, one)}
            targets = [one._replace(is_off=one.name in disabled) for one in targets]
        for row_ in (new for entry in fresh for new in _wanted(entry, targets, now)):
            await insert(connection, row_)
            found[row_.event_id] = (*found.get(row_.event_id, ()), row_.id)
    return found


async def insert(connection: Connection, row: Delivery) -> None:
    """Write a new delivery; once there is one of this id, nothing."""
    await connection.execute(
        "INSERT INTO deliveries (id, workspace_id, project_id, event_id, event_type, channel, target, body, state, "
        "generation, last_error, created_at, since, next_attempt_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE id = deliveries.id",
        row.id,
        row.workspace,
        row.project,
        row.event_id,
        row.event_type,
        row.channel.value,
        row.target,
        row.body,
        row.state.value,
        row.generation,
        row.last_error,
        row.created_at,
        row.since,
        row.next_attempt_at,
    )


def new(entry: Entry, channel: Channel, target: str, *, body: str, now: datetime, held: bool = False) -> Delivery:
    """A delivery, due now if it is not `held`; its id follows from entry and target: making it twice gives one."""
    return Delivery(
        position=0,
        id=ids.derived("dlv", entry.id, channel.value, target),
        workspace=entry.workspace,
        project=entry.project,
        event_id=entry.id,
        event_type=entry.action,
        channel=channel,
        target=target,
        body=body,
        state=State.HELD if held else State.PENDING,
        generation=1,
        attempts=0,
        failures=0,
        last_error=WHILE_DISABLED if held else "",
        created_at=now,
        since=now,
        next_attempt_at=None if held else now,
        delivered_at=None,
    )


async def find(db: Database, delivery: str, *, workspace: str | None = None) -> Delivery | None:
    """One delivery; of this workspace, if one is named."""
    row = await db.one(
        "SELECT * FROM deliveries WHERE id = %s AND (%s IS NULL OR workspace_id = %s)", delivery, workspace, workspace
    )
    return None if row is None else _delivery(row)


async def locked(connection: Connection, delivery: str) -> Delivery | None:
    """One delivery, which nobody else changes until the end of the transaction."""
    row = await connection.one("SELECT * FROM deliveries WHERE id = %s FOR UPDATE", delivery)
    return None if row is None else _delivery(row)


async def listed(db: Database, wanted: DeliveryFilter, *, before: int | None, limit: int) -> Sequence[Delivery]:
    """Deliveries, newest first, from before this position."""
    rows = await db.all(
        "SELECT * FROM deliveries WHERE workspace_id = %s AND (%s IS NULL OR target = %s) "
        "AND (%s IS NULL OR state = %s) AND (%s IS NULL OR event_type = %s) AND (%s IS NULL OR project_id = %s) "
        "AND (%s IS NULL OR created_at >= %s) AND (%s IS NULL OR created_at < %s) "
        "AND (%s IS NULL OR position < %s) ORDER BY position DESC LIMIT %s",
        wanted.workspace,
        *_twice(wanted.target),
        *_twice(wanted.state.value if wanted.state else None),
        *_twice(wanted.event),
        *_twice(wanted.project),
        *_twice(wanted.since),
        *_twice(wanted.until),
        *_twice(before),
        limit,
    )
    return [_delivery(row) for row in rows]


async def attempts(db: Database, delivery: str) -> Sequence[Attempt]:
    """The attempts of a delivery, oldest first."""
    rows = await db.all("SELECT * FROM delivery_attempts WHERE delivery_id = %s ORDER BY generation", delivery)
    return [Attempt(row["at"], row["took_ms"], Outcome(row["outcome"]), row["status"], row["detail"]) for row in rows]


async def note(connection: Connection, row: Delivery, verdict: Verdict, *, generation: int) -> None:
    """Write down the attempt of a locked delivery that was made at this generation; repeating it changes nothing."""
    added = await connection.execute(
        "INSERT INTO delivery_attempts (delivery_id, generation, at, took_ms, outcome, status, detail) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE delivery_id = delivery_attempts.delivery_id",
        row.id,
        generation,
        verdict.at,
        verdict.took_ms,
        verdict.outcome.value,
        verdict.status,
        verdict.detail[:_LONGEST_ERROR],
    )
    if added:
        await connection.execute("UPDATE deliveries SET attempts = attempts + 1 WHERE id = %s", row.id)


async def settle(
    connection: Connection,
    row: Delivery,
    *,
    state: State,
    error: str,
    next_at: datetime | None,
    at: datetime,
    failed: bool,
) -> int:
    """Say where a locked delivery stands; messages of before are stale from now on. Returns the new generation."""
    await connection.execute(
        "UPDATE deliveries SET state = %s, last_error = %s, next_attempt_at = %s, generation = generation + 1, "
        "failures = failures + %s, delivered_at = IF(%s, %s, delivered_at) WHERE id = %s",
        state.value,
        error[:_LONGEST_ERROR],
        next_at,
        int(failed),
        state is State.DELIVERED,
        at,
        row.id,
    )
    return row.generation + 1


async def revive(connection: Connection, row: Delivery, *, since: datetime, due: datetime) -> int:
    """Have a locked delivery begin again; returns its new generation.

    Args:
        connection: of a transaction.
        row: the delivery.
        since: when somebody asked.
        due: when it is to be attempted.
    """
    await connection.execute(
        "UPDATE deliveries SET state = %s, failures = 0, last_error = '', since = %s, next_attempt_at = %s, "
        "generation = generation + 1 WHERE id = %s",
        State.PENDING.value,
        since,
        due,
        row.id,
    )
    return row.generation + 1


async def lost(db: Database, *, before: datetime, now: datetime, limit: int) -> Sequence[Due]:
    """Deliveries whose attempt was due long ago; each is given once in a while."""

    async def work(connection: Connection) -> Sequence[Due]:
        rows = await connection.all(
            "SELECT id, generation FROM deliveries WHERE next_attempt_at < %s ORDER BY next_attempt_at LIMIT %s "
            "FOR UPDATE",
            before,
            limit,
        )
        for row in rows:
            await connection.execute("UPDATE deliveries SET next_attempt_at = %s WHERE id = %s", now, row["id"])
        return [Due(delivery=row["id"], generation=row["generation"]) for row in rows]

    return await db.transaction(work)


async def forget(db: Database, *, before: datetime, limit: int) -> int:
    """Remove deliveries of long ago that are over; returns how many."""
    return await db.execute(
        "DELETE FROM deliveries WHERE created_at < %s AND next_attempt_at IS NULL LIMIT %s", before, limit
    )


async def count_waiting(db: Database) -> dict[Channel, tuple[int, int]]:
    """How many deliveries wait for their next attempt, and how many of these have failed, by channel; for metrics."""
    rows = await db.all(
        "SELECT channel, COUNT(*) AS n, SUM(failures > 0) AS failing FROM deliveries "
        "WHERE next_attempt_at IS NOT NULL GROUP BY channel"
    )
    return {Channel(row["channel"]): (int(row["n"]), int(row["failing"])) for row in rows}


async def backlog(connection: Connection, row: Delivery) -> int:
    """How many deliveries wait for the same turns: of its webhook, or mail of its workspace; some thousands at most."""
    found = await connection.one(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM deliveries WHERE target = %s AND state = 'pending' LIMIT %s) AS some"
        if row.channel is Channel.WEBHOOK
        else "SELECT COUNT(*) AS n FROM (SELECT 1 FROM deliveries WHERE workspace_id = %s AND state = 'pending' "
        "AND channel = 'mail' LIMIT %s) AS some",
        row.target if row.channel is Channel.WEBHOOK else row.workspace,
        _MOST_COUNTED,
    )
    return int(found["n"]) if found else 0


async def project_name(db: Database, project: str) -> str:
    """What people call a project; its id once nobody knows it."""
    row = await db.one(
        "SELECT COALESCE((SELECT name FROM projects WHERE id = %s), (SELECT slug FROM tombstones WHERE project_id = %s)"
        ") AS name",
        project,
        project,
    )
    return str(row["name"]) if row and row["name"] else project


async def _is_off(connection: Connection, target: Target) -> bool:
    return not await targets_store.is_enabled(connection, target.name)


def _wanted(entry: Entry, targets: Sequence[Target], now: datetime) -> Iterator[Delivery]:
    body = events.body(entry)
    for target in targets:
        about_itself = entry.detail.get("webhook") == target.name
        if target.workspace == entry.workspace and events.matches(target.patterns, entry.action) and not about_itself:
            yield new(entry, target.channel, target.name, body=body, now=now, held=target.is_off)


def _twice(value: object) -> tuple[Any, Any]:
    return value, value


def _delivery(row: Row) -> Delivery:
    return Delivery(
        position=int(row["position"]),
        id=row["id"],
        workspace=row["workspace_id"],
        project=row["project_id"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        channel=Channel(row["channel"]),
        target=row["target"],
        body=row["body"],
        state=State(row["state"]),
        generation=int(row["generation"]),
        attempts=int(row["attempts"]),
        failures=int(row["failures"]),
        last_error=row["last_error"],
        created_at=row["created_at"],
        since=row["since"],
        next_attempt_at=row["next_attempt_at"],
        delivered_at=row["delivered_at"],
    )
