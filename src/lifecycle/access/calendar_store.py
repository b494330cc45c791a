"""SQL: links to the calendar feed."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.db import Connection, Database, Row


class LinkRow(NamedTuple):
    """A link without its secret."""

    id: str
    workspace_id: str
    person: str
    created_at: datetime
    revoked_at: datetime | None


class Counts(NamedTuple):
    """How many links a person has that open something, and how many that do no more."""

    valid: int
    revoked: int


async def count(connection: Connection, *, workspace: str, person: str) -> Counts:
    """How many links a person has."""
    row = await connection.one(
        "SELECT COUNT(*) AS n, COUNT(revoked_at) AS revoked FROM calendar_links "
        "WHERE workspace_id = %s AND person = %s",
        workspace,
        person,
    )
    total, revoked = (0, 0) if row is None else (int(row["n"]), int(row["revoked"]))
    return Counts(total - revoked, revoked)


async def forget_oldest(connection: Connection, *, workspace: str, person: str, count: int) -> None:
    """Remove the oldest revoked links of a person."""
    await connection.execute(
        "DELETE FROM calendar_links WHERE workspace_id = %s AND person = %s AND revoked_at IS NOT NULL "
        "ORDER BY id LIMIT %s",
        workspace,
        person,
        count,
    )


async def insert(connection: Connection, link: LinkRow, *, secret_sha256: str) -> None:
    """Store a new link."""
    await connection.execute(
        "INSERT INTO calendar_links (id, workspace_id, person, secret_sha256, created_at) VALUES (%s, %s, %s, %s, %s)",
        link.id,
        link.workspace_id,
        link.person,
        secret_sha256,
        link.created_at,
    )


async def find_valid(db: Database, link_id: str) -> tuple[LinkRow, str] | None:
    """A link that opens something, and the hash of its secret. It ends with the last key of its person."""
    row = await db.one(
        "SELECT * FROM calendar_links WHERE id = %s AND revoked_at IS NULL AND EXISTS (SELECT 1 FROM api_keys "
        "WHERE api_keys.workspace_id = calendar_links.workspace_id AND api_keys.person = calendar_links.person "
        "AND api_keys.revoked_at IS NULL)",
        link_id,
    )
    return None if row is None else (_link(row), str(row["secret_sha256"]))


async def list_links(db: Database, *, workspace: str, person: str | None) -> Sequence[LinkRow]:
    """The links of a workspace, newest first, revoked ones included; only those of `person` when one is named."""
    rows = await db.all(
        "SELECT * FROM calendar_links WHERE workspace_id = %s AND (%s IS NULL OR person = %s) ORDER BY id DESC",
        workspace,
        person,
        person,
    )
    return [_link(row) for row in rows]


async def revoke(
    connection: Connection, *, workspace: str, person: str | None, link_id: str, now: datetime
) -> LinkRow | None:
    """End a link, and return it as it was before; None when there is none, or not of `person` when one is named."""
    row = await connection.one(
        "SELECT * FROM calendar_links WHERE id = %s AND workspace_id = %s AND (%s IS NULL OR person = %s) FOR UPDATE",
        link_id,
        workspace,
        person,
        person,
    )
    if row is None:
        return None
    await connection.execute(
        "UPDATE calendar_links SET revoked_at = COALESCE(revoked_at, %s) WHERE id = %s", now, link_id
    )
    return _link(row)


def _link(row: Row) -> LinkRow:
    return LinkRow(
        id=row["id"],
        workspace_id=row["workspace_id"],
        person=row["person"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
    )
