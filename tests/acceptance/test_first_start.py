"""The first start of an installation, in whatever order its parts come up."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from lifecycle import migrate
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from tests.support.waiting import eventually


@pytest.fixture
async def empty() -> AsyncIterator[Stack]:
    """A stack of our own whose servers run on an empty database, and nothing else yet."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-first-"))
    running = Stack(root / "s", settings={"LIFECYCLE_RECONCILER_INTERVAL": "1s"})
    running.write_certificates_file()
    try:
        await running.database.start()
        await running.engine.start()
        yield running
    finally:
        await running.stop()
        shutil.rmtree(root)


async def test_a_worker_that_comes_before_its_tables_waits_for_them(empty: Stack) -> None:
    """Nobody has to restart a worker that was started before `lifecycle migrate`: it goes on by itself."""
    log = empty.worker.child.log
    await empty.worker.start()
    await eventually(lambda: "not registered, trying again" in log.read_text(), within=30)
    await asyncio.to_thread(migrate.upgrade, empty.database.url)
    await eventually(lambda: "registered as http" in log.read_text(), within=30)

    assert await _signing_keys(empty) == 1


async def _signing_keys(stack: Stack) -> int:
    """How many keys there are to sign receipts with; the worker makes the first one."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        row = await db.one("SELECT COUNT(*) AS n FROM signing_keys")
    finally:
        await db.close()
    assert row is not None
    return int(row["n"])
