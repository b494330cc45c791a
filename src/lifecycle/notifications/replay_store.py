"""SQL: what a target has missed, and how much waits for it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.db import Connection, Database
from lifecycle.notifications.model import Lost, State
from lifecycle.notifications.store import locked, revive

_MOST_COUNTED = 5000


class Missed(NamedTuple):
    """Which deliveries to a webhook are to be sent again: in these states, and written within this time."""

    webhook: str
    states: tuple[State, ...]
    since: datetime
    until: datetime


async def count_missed(db: Database, missed: Missed) -> int:
    """How many those are."""
    row = await db.one(
        "SELECT COUNT(*) AS n FROM deliveries WHERE target = %s AND state IN (%s, %s) "
        "AND created_at >= %s AND created_at < %s",
        missed.webhook,
        *_both(missed.states),
        missed.since,
        missed.until,
    )
    return int(row["n"]) if row else 0


async def revive_missed(
    connection: Connection, missed: Missed, *, now: datetime, after: int, limit: int
) -> tuple[Sequence[Lost], int | None]:
    """Have missed deliveries begin again, oldest first.

    Repeating it with the same `now` finds those that it has begun, and changes nothing of them.

    Args:
        connection: of a transaction.
        missed: which.
        now: when somebody asked.
        after: the position of the last one that was looked at.
        limit: most of them.

    Returns:
        The deliveries, and the position of the last one; None when there are no more.
    """
    # Found without locks, and locked one by one: what is on its way to the same webhook is not held up.
    rows = await connection.all(
        "SELECT id, position FROM deliveries WHERE target = %s AND state IN (%s, %s, 'pending') AND position > %s "
        "AND created_at >= %s AND created_at < %s AND (state <> 'pending' OR since = %s) ORDER BY position LIMIT %s",
        missed.webhook,
        *_both(missed.states),
        after,
        missed.since,
        missed.until,
        now,
        limit,
    )
    begun = []
    for found in rows:
        row = await locked(connection, found["id"])
        if row is None:
            continue
        if row.state in missed.states:
            begun.append(Lost(delivery=row.id, generation=await revive(connection, row, now)))
        elif row.state is State.PENDING and row.since == now:
            begun.append(Lost(delivery=row.id, generation=row.generation))
    return begun, int(rows[-1]["position"]) if len(rows) == limit else None


async def count_waiting(connection: Connection, target: str) -> int:
    """How many deliveries wait for a target; some thousands at most."""
    row = await connection.one(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM deliveries WHERE target = %s AND state = 'pending' LIMIT %s) AS some",
        target,
        _MOST_COUNTED,
    )
    return int(row["n"]) if row else 0


def _both(states: Sequence[State]) -> tuple[str, str]:
    """One or two states, as two."""
    return states[0].value, states[-1].value
