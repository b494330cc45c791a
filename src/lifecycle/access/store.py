"""SQL: workspaces and API keys."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle.db import Connection, Database, Row
from lifecycle.models import Role


class KeyRow(NamedTuple):
    """An API key without its secret."""

    id: str
    workspace_id: str
    person: str
    role: Role
    created_at: datetime
    created_by: str
    revoked_at: datetime | None


async def workspace_name(db: Database, workspace: str) -> str:
    """The name of a workspace; its id when it has none."""
    row = await db.one("SELECT name FROM workspaces WHERE id = %s", workspace)
    return workspace if row is None else str(row["name"])


async def ensure_workspace(db: Database, *, workspace_id: str, name: str, now: datetime) -> str:
    """The id of the workspace called `name`; makes it when there is none."""

    async def work(connection: Connection) -> str:
        await connection.execute(
            "INSERT INTO workspaces (id, name, created_at) VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE name = name",
            workspace_id,
            name,
            now,
        )
        row = await connection.one("SELECT id FROM workspaces WHERE name = %s", name)
        if row is None:
            raise LookupError(f"workspace {name} vanished while it was made")
        return str(row["id"])

    return await db.transaction(work)


async def insert_key(connection: Connection, key: KeyRow, *, secret_sha256: str) -> None:
    """Store a new key."""
    await connection.execute(
        "INSERT INTO api_keys (id, workspace_id, person, role, secret_sha256, created_at, created_by) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        key.id,
        key.workspace_id,
        key.person,
        key.role.value,
        secret_sha256,
        key.created_at,
        key.created_by,
    )


async def find_key(db: Database, key_id: str, *, deadline: timedelta) -> tuple[KeyRow, str] | None:
    """A key and the hash of its secret, if the database answers before the deadline."""
    row = await db.one("SELECT * FROM api_keys WHERE id = %s", key_id, deadline=deadline)
    return None if row is None else (_key(row), str(row["secret_sha256"]))


async def list_keys(db: Database, workspace_id: str) -> Sequence[KeyRow]:
    """All keys of a workspace, newest first, revoked ones included."""
    rows = await db.all("SELECT * FROM api_keys WHERE workspace_id = %s ORDER BY id DESC", workspace_id)
    return [_key(row) for row in rows]


async def revoke_key(connection: Connection, *, workspace_id: str, key_id: str, now: datetime) -> KeyRow | None:
    """Revoke a key and return it as it was before; None when the workspace has none with this id."""
    row = await connection.one(
        "SELECT * FROM api_keys WHERE id = %s AND workspace_id = %s FOR UPDATE", key_id, workspace_id
    )
    if row is None:
        return None
    await connection.execute("UPDATE api_keys SET revoked_at = COALESCE(revoked_at, %s) WHERE id = %s", now, key_id)
    return _key(row)


async def is_administrator(db: Database, *, workspace_id: str, person: str) -> bool:
    """Whether `person` holds a valid administrator key of the workspace."""
    row = await db.one(
        "SELECT 1 FROM api_keys WHERE workspace_id = %s AND person = %s AND role = 'administrator' "
        "AND revoked_at IS NULL LIMIT 1",
        workspace_id,
        person,
    )
    return row is not None


def _key(row: Row) -> KeyRow:
    return KeyRow(
        id=row["id"],
        workspace_id=row["workspace_id"],
        person=row["person"],
        role=Role(row["role"]),
        created_at=row["created_at"],
        created_by=row["created_by"],
        revoked_at=row["revoked_at"],
    )
