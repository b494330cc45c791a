"""SQL: what a webhook has missed."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.db import Connection, Database
from lifecycle.notifications import events
from lifecycle.notifications.model import Due, State


class Missed(NamedTuple):
    """Which deliveries to a webhook are to be sent again: in these states, and written within this time; no tests.

    Attributes:
        until: when somebody asked.
    """

    webhook: str
    states: tuple[State, ...]
    since: datetime
    until: datetime


async def count_missed(db: Database, missed: Missed) -> int:
    """How many those are."""
    row = await db.one(
        "SELECT COUNT(*) AS n FROM deliveries WHERE target = %s AND state IN (%s, %s) "
        "AND created_at >= %s AND created_at < %s AND event_type <> %s",
        missed.webhook,
        *_both(missed.states),
        missed.since,
        missed.until,
        events.TEST,
    )
    return int(row["n"]) if row else 0


async def revive_missed(
    connection: Connection, missed: Missed, *, due: datetime, after: int, limit: int
) -> tuple[Sequence[Due], int | None]:
    """Have missed deliveries begin again, oldest first.

    What has begun says so by its `since`, which is the end of the time asked for. So repeating it finds those that it
    has begun, and changes nothing of them.

    Args:
        connection: of a transaction that has locked the webhook.
        missed: which.
        due: when they are to be attempted.
        after: the position of the last one that was looked at.
        limit: most of them.

    Returns:
        The deliveries, and the position of the last one; None when there are no more.
    """
    last, is_more = await _last(connection, missed, after=after, limit=limit)
    await connection.execute(
        "UPDATE deliveries SET state = 'pending', failures = 0, last_error = '', since = %s, next_attempt_at = %s, "
        "generation = generation + 1 WHERE target = %s AND state IN (%s, %s) AND position > %s AND position <= %s "
        "AND created_at >= %s AND created_at < %s AND event_type <> %s",
        missed.until,
        due,
        missed.webhook,
        *_both(missed.states),
        after,
        last,
        missed.since,
        missed.until,
        events.TEST,
    )
    begun = await connection.all(
        "SELECT id, generation FROM deliveries WHERE target = %s AND state = 'pending' AND position > %s "
        "AND position <= %s AND created_at >= %s AND since = %s ORDER BY position",
        missed.webhook,
        after,
        last,
        missed.since,
        missed.until,
    )
    return [Due(delivery=row["id"], generation=row["generation"]) for row in begun], last if is_more else None


async def _last(connection: Connection, missed: Missed, *, after: int, limit: int) -> tuple[int, bool]:
    """The position of the last one of a batch, and whether there may be more behind it."""
    rows = await connection.all(
        "SELECT position FROM deliveries WHERE target = %s AND state IN (%s, %s, 'pending') AND position > %s "
        "AND created_at >= %s AND created_at < %s AND event_type <> %s AND (state <> 'pending' OR since = %s) "
        "ORDER BY position LIMIT %s",
        missed.webhook,
        *_both(missed.states),
        after,
        missed.since,
        missed.until,
        events.TEST,
        missed.until,
        limit,
    )
    return (int(rows[-1]["position"]) if rows else after), len(rows) == limit


def _both(states: Sequence[State]) -> tuple[str, str]:
    """One or two states, as two."""
    return states[0].value, states[-1].value
