"""SQL: issuances with their orders at a CA, and what is published for challenges."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.certs.model import Assignment
from lifecycle.db import Database, Row
from lifecycle.errors import Code, LifecycleError


class OrderRow(NamedTuple):
    """An issuance as the database has it.

    Attributes:
        url: of the order at the CA; None means that an order may have been sent, and that no answer was seen.
        sealed_key: of the certificate; empty once that has it.
    """

    issuance: str
    domain: str
    ca: str
    account_url: str
    url: str | None
    sealed_key: str


class Published(NamedTuple):
    """Something that is published for a challenge, or may be.

    Attributes:
        name: a token, the name of a TXT record, or a host name, by type.
        value: what is to be found there.
        place: where a TXT record was put: its own name and the zone, with a space between.
    """

    issuance: str
    type: str
    name: str
    value: str
    identifier: str
    place: str = ""


async def begin_order(
    db: Database, assignment: Assignment, *, ca: str, account_url: str, sealed_key: str, now: datetime
) -> OrderRow:
    """Write down that an order is about to be sent; of an issuance that has none yet, only the CA changes.

    Returns:
        What is there.

    Raises:
        LifecycleError: CERTIFICATE_NOT_FOUND, since the project is being purged.
    """
    new = OrderRow(assignment.issuance, assignment.domain, ca, account_url, None, sealed_key)
    affected = await db.execute(
        "INSERT INTO acme_orders (issuance_id, domain, workspace_id, project_id, ca, account_url, names, "
        "sealed_key, status, asked_at, created_at) SELECT %s, %s, %s, %s, %s, %s, %s, %s, 'pending', %s, %s FROM DUAL "
        "WHERE %s IS NULL OR EXISTS (SELECT 1 FROM projects WHERE id = %s AND state <> 'purging') "
        "ON DUPLICATE KEY UPDATE "
        "asked_at = IF(acme_orders.url IS NULL, VALUES(asked_at), acme_orders.asked_at), "
        "account_url = IF(acme_orders.url IS NULL, VALUES(account_url), acme_orders.account_url), "
        "ca = IF(acme_orders.url IS NULL, VALUES(ca), acme_orders.ca)",
        *(assignment.issuance, assignment.domain, assignment.workspace, assignment.project, ca, account_url),
        *(json.dumps(assignment.wish.names), sealed_key, now, now),
        *(assignment.project, assignment.project),
    )
    # One row for an INSERT, two for an UPDATE.
    return new if affected == 1 else await the_order(db, assignment)


async def find_order(db: Database, issuance: str) -> OrderRow | None:
    """One issuance."""
    row = await db.one("SELECT * FROM acme_orders WHERE issuance_id = %s", issuance)
    return None if row is None else _order(row)


async def the_order(db: Database, assignment: Assignment) -> OrderRow:
    """The order of an issuance that has begun.

    Raises:
        LifecycleError: CERTIFICATE_NOT_FOUND, since it was purged with its project.
    """
    row = await db.one("SELECT * FROM acme_orders WHERE issuance_id = %s", assignment.issuance)
    return _there(row, assignment.domain)


async def set_order_url(db: Database, issuance: str, url: str) -> None:
    """Say where the order is."""
    await db.execute("UPDATE acme_orders SET url = %s WHERE issuance_id = %s", url, issuance)


async def end_order(db: Database, issuance: str, status: str, now: datetime) -> None:
    """Say how the issuance ended; the key of one that failed is of no use any more."""
    await db.execute(
        "UPDATE acme_orders SET status = %s, ended_at = %s, sealed_key = '' "
        "WHERE issuance_id = %s AND ended_at IS NULL",
        status,
        now,
        issuance,
    )


async def known_orders(db: Database, urls: Sequence[str]) -> frozenset[str]:
    """Those of these orders that belong to an issuance."""
    rows = await db.all(
        "SELECT o.url FROM acme_orders o JOIN JSON_TABLE(%s, '$[*]' COLUMNS (url VARCHAR(500) PATH '$')) AS listed "
        "ON o.url = CONVERT(listed.url USING utf8mb4) COLLATE utf8mb4_bin",
        json.dumps(list(urls)),
    )
    return frozenset(str(row["url"]) for row in rows)


async def write_published(db: Database, assignment: Assignment, rows: Sequence[Published], now: datetime) -> None:
    """Write down what is going to be published, so that it is removed whatever happens.

    Raises:
        LifecycleError: CERTIFICATE_NOT_FOUND, since the issuance was purged with its project.
    """
    # The SELECT locks the order, so that a purge that comes now waits, and finds these as well.
    affected = await db.execute(
        "INSERT INTO challenges (issuance_id, type, name, value, identifier, place, project_id, created_at) "
        "SELECT o.issuance_id, p.type, p.name, p.value, p.identifier, p.place, o.project_id, %s "
        "FROM acme_orders o JOIN JSON_TABLE(%s, '$[*]' COLUMNS (type VARCHAR(20) PATH '$[1]', "
        "name VARCHAR(300) PATH '$[2]', value VARCHAR(310) PATH '$[3]', identifier VARCHAR(255) PATH '$[4]', "
        "place VARCHAR(300) PATH '$[5]')) AS p WHERE o.issuance_id = %s "
        "ON DUPLICATE KEY UPDATE removed_at = NULL, created_at = VALUES(created_at), "
        "place = IF(VALUES(place) = '', challenges.place, VALUES(place))",
        now,
        json.dumps(rows),
        assignment.issuance,
    )
    if rows and not affected:
        await the_order(db, assignment)


async def published(db: Database, issuance: str) -> Sequence[Published]:
    """What is, or may be, still published for an issuance."""
    rows = await db.all("SELECT * FROM challenges WHERE issuance_id = %s AND removed_at IS NULL", issuance)
    return [_published(row) for row in rows]


async def published_of_project(db: Database, project: str) -> Sequence[str]:
    """The issuances of a project that have, or may have, something published still."""
    rows = await db.all(
        "SELECT DISTINCT issuance_id FROM challenges WHERE project_id = %s AND removed_at IS NULL", project
    )
    return [row["issuance_id"] for row in rows]


async def withdraw_tokens(db: Database, issuance: str, now: datetime) -> None:
    """Answer HTTP-01 for an issuance no longer; a token is published by its row, and by nothing else."""
    await db.execute(
        "UPDATE challenges SET removed_at = %s WHERE issuance_id = %s AND type = 'http-01' AND removed_at IS NULL",
        now,
        issuance,
    )


async def mark_removed(db: Database, rows: Sequence[Published], now: datetime) -> None:
    """Say that these are published no more."""
    await db.execute(
        "UPDATE challenges c JOIN JSON_TABLE(%s, '$[*]' COLUMNS (issuance VARCHAR(40) PATH '$[0]', "
        "name VARCHAR(300) PATH '$[2]', value VARCHAR(310) PATH '$[3]')) AS gone "
        "ON c.issuance_id = CONVERT(gone.issuance USING utf8mb4) COLLATE utf8mb4_bin "
        "AND c.name = CONVERT(gone.name USING utf8mb4) COLLATE utf8mb4_bin "
        "AND c.value = CONVERT(gone.value USING utf8mb4) COLLATE utf8mb4_bin SET c.removed_at = %s",
        json.dumps(rows),
        now,
    )


async def left_behind(db: Database, *, before: datetime, limit: int = 100) -> Sequence[str]:
    """Issuances that published something before this moment and have not removed it."""
    rows = await db.all(
        "SELECT DISTINCT issuance_id FROM challenges WHERE removed_at IS NULL AND created_at < %s LIMIT %s",
        before,
        limit,
    )
    return [row["issuance_id"] for row in rows]


async def http_answer(db: Database, token: str) -> str | None:
    """What HTTP-01 must find under this token (RFC 8555, section 8.3)."""
    row = await db.one(
        "SELECT value FROM challenges WHERE type = 'http-01' AND name = %s AND removed_at IS NULL LIMIT 1", token
    )
    return None if row is None else str(row["value"])


def _there(row: Row | None, domain: str) -> OrderRow:
    if row is None:
        raise LifecycleError(Code.CERTIFICATE_NOT_FOUND, domain=domain)
    return _order(row)


def _order(row: Row) -> OrderRow:
    return OrderRow(
        issuance=row["issuance_id"],
        domain=row["domain"],
        ca=row["ca"],
        account_url=row["account_url"],
        url=row["url"],
        sealed_key=row["sealed_key"],
    )


def _published(row: Row) -> Published:
    return Published(row["issuance_id"], row["type"], row["name"], row["value"], row["identifier"], row["place"])
