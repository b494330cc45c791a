"""What only somebody with access to the servers can see."""

from datetime import timedelta

from lifecycle import clock, ids
from lifecycle.access import keys, store
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from lifecycle.ledger import store as ledger_store
from lifecycle.ledger.entry import Entry
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


async def key_of(stack: Stack, *, workspace: str, person: str, role: Role) -> str:
    """A key of a workspace, which is made when it is new."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        found = await store.ensure_workspace(db, workspace_id=ids.new("ws"), name=workspace, now=clock.now())
        made = await keys.create(db, workspace=found, person=person, role=role, by=None)
    finally:
        await db.close()
    return made.token


async def workspace_named(stack: Stack, name: str) -> str:
    """The id of a workspace, which is made when it is new."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        return await store.ensure_workspace(db, workspace_id=ids.new("ws"), name=name, now=clock.now())
    finally:
        await db.close()


async def record(stack: Stack, *entries: Entry) -> None:
    """Write entries into the ledger, in this order."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        await db.transaction(lambda connection: ledger_store.record(connection, entries))
    finally:
        await db.close()
