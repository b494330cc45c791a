"""What is new in the audit log, for whoever watches."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from lifecycle import clock, migrate
from lifecycle.db import Database
from lifecycle.ledger import store
from lifecycle.ledger.changes import MISSED, Changes
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


async def test_who_watches_hears_of_everything_from_then_on(db: Database) -> None:
    """Nothing is lost at the beginning: also not the first line that there ever was, or one that is written at once."""
    changes = Changes(db)
    try:
        async with changes.watched("ws_1", "key_1") as queue:
            await _record(db, "first")
            async with asyncio.timeout(10):
                first = await queue.get()
    finally:
        await changes.close()

    assert first.action == "first"


async def test_who_does_not_keep_up_is_told_that_something_was_missed(db: Database) -> None:
    """One change of no project says so: a page of any project then looks again."""
    changes = Changes(db)
    try:
        async with changes.watched("ws_1", "key_1") as queue:
            await _record(db, *("many" for _ in range(queue.maxsize + 10)))
            async with asyncio.timeout(10):
                heard = [await queue.get()]
                while heard[-1].position < queue.maxsize + 10:
                    heard.append(await queue.get())
    finally:
        await changes.close()

    assert heard[0].action == MISSED
    assert heard[0].project is None
    assert len(heard) <= 10


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


async def _record(db: Database, *actions: str) -> None:
    now = clock.now()
    entries = [
        Entry(id=f"{action}.{number}.{now.timestamp()}", sequence=1, workspace="ws_1", action=action, at=now)
        for number, action in enumerate(actions)
    ]
    await db.transaction(lambda connection: store.record(connection, entries))
