"""Sessions of the console that were ended, as each API process sees them."""

import asyncio
import secrets
from datetime import timedelta

import pytest

from lifecycle import clock
from lifecycle.access.ended_sessions import EndedSessions
from lifecycle.db import Database, DatabaseDownError
from tests.support.workbench import Workbench

_DAY = timedelta(days=1)


async def test_every_process_knows_that_i_signed_out(bench: Workbench) -> None:
    """The process through which I sign out knows at once; another that has just asked, when it asks again."""
    mine, fresh, late = (EndedSessions(bench.resources.db, ttl=ttl) for ttl in (_DAY, timedelta(0), _DAY))
    session = secrets.token_hex(32)
    before = [await one.has(session) for one in (mine, fresh, late)]
    await mine.add(session, ends_at=clock.now() + _DAY)
    await mine.add(session, ends_at=clock.now() + _DAY)
    after = [await one.has(session) for one in (mine, fresh, late)]

    assert before == [False, False, False]
    assert after == [True, True, False]


async def test_what_would_be_over_by_itself_is_forgotten(bench: Workbench) -> None:
    """The list of ended sessions grows no longer than a day of them."""
    sessions, elsewhere = (EndedSessions(bench.resources.db, ttl=timedelta(0)) for _ in range(2))
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    await sessions.add(old, ends_at=clock.now() - timedelta(seconds=1))
    await sessions.add(new, ends_at=clock.now() + _DAY)

    assert [await elsewhere.has(one) for one in (old, new)] == [False, True]


async def test_a_request_that_was_under_way_opens_nothing_again(bench: Workbench) -> None:
    """I sign out while a page of mine is being made: what it was told before does not outlive that."""
    sessions = EndedSessions(bench.resources.db, ttl=_DAY)
    session = secrets.token_hex(32)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(sessions.has(session)) for _ in range(5)]
        group.create_task(sessions.add(session, ends_at=clock.now() + _DAY))

    assert await sessions.has(session), asked


async def test_without_the_database_i_am_out_where_i_signed_out() -> None:
    """The end cannot be noted for others, but this process knows."""
    db = Database("mysql://nobody:nothing@127.0.0.1:9/none", size=1, deadline=timedelta(seconds=1))
    sessions = EndedSessions(db, ttl=_DAY)
    try:
        before = await sessions.has("some")
        with pytest.raises(DatabaseDownError):
            await sessions.add("some", ends_at=clock.now() + _DAY)
        after = await sessions.has("some")
    finally:
        await db.close()

    assert (before, after) == (False, True)


async def test_without_the_database_nobody_is_thrown_out() -> None:
    """While nothing can be asked, who is signed in stays so, and a cancel gets through."""
    db = Database("mysql://nobody:nothing@127.0.0.1:9/none", size=1, deadline=timedelta(seconds=1))
    try:
        assert not await EndedSessions(db, ttl=_DAY).has("some")
    finally:
        await db.close()
