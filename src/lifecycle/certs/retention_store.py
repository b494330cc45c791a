"""SQL: what is left of issuances that are over: orders to give up, and rows and keys that nobody needs any more.

Everything is taken oldest first, in batches, so that nothing starves however much there is.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple

from lifecycle.certs.model import Assignment, Cause, Wish
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.db import Connection, Database, Row

# The order with which an issuance was rehearsed has a row of its own.
_REHEARSAL = "_r"


class OpenOrder(NamedTuple):
    """An issuance that has not ended: as much of it as is needed to give it up.

    Attributes:
        ca: where it was ordered, or was about to be.
    """

    assignment: Assignment
    ca: str


class Undelivered(NamedTuple):
    """A version that was issued and reached no visitor."""

    workspace: str
    project: str | None
    domain: str
    number: int


class Kept(NamedTuple):
    """How long what nobody uses is kept.

    Attributes:
        keys: private keys of certificates that were replaced; shorter when they expire before.
        certificates: certificates without their keys, from when they expired.
        orders: orders that have ended. A CA lists an open one for a week at most, so none is mistaken for a stranger's
            (`orders_store.known_orders`).
        challenges: what is published no more.
    """

    keys: timedelta
    certificates: timedelta
    orders: timedelta = timedelta(days=30)
    challenges: timedelta = timedelta(days=1)


async def open_orders(db: Database, issuance: str) -> Sequence[OpenOrder]:
    """The order of an issuance and that of its rehearsal, as far as they have not ended."""
    rows = await db.all(
        "SELECT * FROM acme_orders WHERE issuance_id IN (%s, %s) AND ended_at IS NULL ORDER BY issuance_id",
        issuance,
        f"{issuance}{_REHEARSAL}",
    )
    return [_open(row) for row in rows]


async def open_orders_of_project(db: Database, project: str) -> Sequence[OpenOrder]:
    """The orders of a project that have not ended."""
    rows = await db.all(
        "SELECT * FROM acme_orders WHERE project_id = %s AND ended_at IS NULL ORDER BY created_at, issuance_id", project
    )
    return [_open(row) for row in rows]


async def retire_undelivered(db: Database, issuance: str, now: datetime) -> Undelivered | None:
    """Say that nobody goes on delivering what an issuance has brought; None when it was delivered, or brought nothing.

    Repeating it gives the same.
    """

    async def work(connection: Connection) -> Undelivered | None:
        row = await connection.one(
            "SELECT * FROM certificates WHERE issuance_id = %s AND status = 'stored' FOR UPDATE", issuance
        )
        if row is None:
            return None
        await connection.execute(
            "UPDATE certificates SET retired_at = COALESCE(retired_at, %s) WHERE id = %s", now, row["id"]
        )
        return Undelivered(row["workspace_id"], row["project_id"], row["domain"], int(row["version"]))

    return await db.transaction(work)


async def left_behind(db: Database, *, before: datetime, limit: int) -> Sequence[str]:
    """Issuances that published something before this moment and have not removed it.

    Those that were looked at longest ago come first: see `note_looked`.
    """
    rows = await db.all(
        "SELECT issuance_id, MIN(COALESCE(looked_at, created_at)) AS oldest FROM challenges "
        "WHERE removed_at IS NULL AND created_at < %s GROUP BY issuance_id ORDER BY oldest, issuance_id LIMIT %s",
        before,
        limit,
    )
    return [row["issuance_id"] for row in rows]


async def note_looked(db: Database, issuances: Sequence[str], now: datetime) -> None:
    """Let others come first the next time, whatever becomes of these."""
    await db.execute(
        "UPDATE challenges JOIN JSON_TABLE(%s, '$[*]' COLUMNS (id VARCHAR(40) PATH '$')) AS looked "
        "ON challenges.issuance_id = CONVERT(looked.id USING utf8mb4) COLLATE utf8mb4_bin "
        "SET challenges.looked_at = %s WHERE challenges.removed_at IS NULL",
        json.dumps(list(issuances)),
        now,
    )


async def destroy_keys(db: Database, kept: Kept, now: datetime, *, limit: int) -> int:
    """Destroy the private keys of versions that are served no more, once they have expired or this long after.

    Returns:
        How many.
    """
    return await db.execute(
        "UPDATE certificates SET sealed_key = '' WHERE key_idle_since IS NOT NULL "
        "AND (key_idle_since < %s OR not_after < %s) ORDER BY key_idle_since LIMIT %s",
        now - kept.keys,
        now,
        limit,
    )


async def forget(db: Database, kept: Kept, now: datetime, *, limit: int) -> int:
    """Remove at most so many rows of each kind that are kept no longer; returns how many in all.

    A certificate that is served stays, however long ago it expired: nothing has taken its place.
    """
    versions = await db.execute(
        "DELETE FROM certificates WHERE status IN ('former', 'revoked', 'stored') AND not_after < %s "
        "ORDER BY not_after LIMIT %s",
        now - kept.certificates,
        limit,
    )
    challenges = await db.execute(
        "DELETE FROM challenges WHERE removed_at < %s ORDER BY removed_at LIMIT %s", now - kept.challenges, limit
    )
    orders = await db.execute(
        "DELETE FROM acme_orders WHERE ended_at < %s ORDER BY ended_at LIMIT %s", now - kept.orders, limit
    )
    return versions + challenges + orders


def _open(row: Row) -> OpenOrder:
    wish = Wish(
        identifiers=tuple(map(_identifier, json.loads(row["names"]))),
        challenge=ChallengeType.HTTP_01,  # which one it was is not written down, and nothing is proved any more
        ca=row["ca"],
    )
    assignment = Assignment(
        issuance=row["issuance_id"],
        run=1,
        domain=row["domain"],
        workspace=row["workspace_id"],
        project=row["project_id"],
        wish=wish,
        number=0,
        cause=Cause.REQUESTED,
        attempt=1,
    )
    return OpenOrder(assignment, row["ca"])


def _identifier(name: str) -> Identifier:
    try:
        ip_address(name)
    except ValueError:
        return Identifier(value=name)
    return Identifier(type="ip", value=name)
