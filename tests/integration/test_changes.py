"""What is new in the audit log, for whoever watches."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from lifecycle import clock, migrate
from lifecycle.db import Database
from lifecycle.ledger import store
from lifecycle.ledger.changes import Changes
from lifecycle.ledger.entry import Entry
from tests.support import databases
from tests.support.waiting import eventually


@pytest.fixture
async def db() -> AsyncIterator[Database]:
    """A database of our own, which may be broken."""
    async with databases.private() as server:
        await asyncio.to_thread(migrate.upgrade, server.url)
        opened = Database(server.url, size=2, deadline=timedelta(seconds=20))
        yield opened
        await opened.close()


async def test_an_error_that_nobody_thought_of_makes_nobody_deaf(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Something is wrong with the log for a while; who watched before hears of what comes afterwards."""
    changes = Changes(db)
    await _record(db, "first")
    try:
        async with changes.watched("ws_1", "key_1") as queue:
            await eventually(lambda: _hears(db, queue), within=10)
            await db.execute("RENAME TABLE audit_log TO audit_log_away")
            with caplog.at_level(logging.ERROR):
                await eventually(lambda: "asking again" in caplog.text, within=10)
            await db.execute("RENAME TABLE audit_log_away TO audit_log")
            await _record(db, "after")
            async with asyncio.timeout(10):
                while (heard := (await queue.get()).action) != "after":
                    pass
    finally:
        await changes.close()

    assert heard == "after"


async def test_watchers_are_counted_by_their_key(db: Database) -> None:
    """How many streams a key has is known, and one that is closed counts no longer."""
    changes = Changes(db)
    try:
        async with changes.watched("ws_1", "key_1"):
            async with changes.watched("ws_1", "key_1"), changes.watched("ws_1", "key_2"):
                during = changes.watching("key_1")
            after = changes.watching("key_1")
    finally:
        await changes.close()

    assert (during, after, changes.watching("key_1")) == (2, 1, 0)


async def _hears(db: Database, queue: asyncio.Queue[store.Change]) -> bool:
    await _record(db, "during")
    return not queue.empty()


async def _record(db: Database, action: str) -> None:
    now = clock.now()
    entry = Entry(id=f"{action}.{now.timestamp()}", sequence=1, workspace="ws_1", action=action, at=now)
    await db.transaction(lambda connection: store.record(connection, [entry]))
