"""What only somebody with access to the servers can see."""

from datetime import timedelta

from lifecycle import clock, ids
from lifecycle.access import keys, store
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from lifecycle.models import Role


async def workspace_of(stack: Stack, project: str) -> str:
    """The workspace id of a project."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        row = await db.one("SELECT workspace_id FROM projects WHERE id = %s", project)
    finally:
        await db.close()
    assert row is not None
    return str(row["workspace_id"])


async def foreign_key(stack: Stack, role: Role) -> str:
    """A key of another workspace."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        workspace = await store.ensure_workspace(db, workspace_id=ids.new("ws"), name="other", now=clock.now())
        made = await keys.create(db, workspace=workspace, person="eve@example.com", role=role, by=None)
    finally:
        await db.close()
    return made.token
