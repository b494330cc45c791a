"""The page of a deployment while what runs it hangs."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from tests.support import console
from tests.support.api import Api
from tests.support.shop import Shop

MOST_SECONDS = 6


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """The address of something that accepts whoever comes, and never says a word."""
    over = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001  as it is called
        await over.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"tcp://{host}:{port}"
    finally:
        over.set()
        server.close()
        await server.wait_closed()


@pytest.fixture
async def harbour(silent: str) -> AsyncIterator[Stack]:
    """A stack with a region that works and one that hangs."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-hanging-"))
    regions = f"local=process:{root}/s/instances,harbour=docker:{silent}"
    running = Stack(root / "s", settings={"LIFECYCLE_REGIONS": regions})
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        shutil.rmtree(root)


async def test_a_log_that_cannot_be_read_takes_nothing_else_away(browser: Browser, harbour: Stack) -> None:
    """The engine of containers hangs: everything else is there, soon, and the log says why it is not."""
    async with Api(harbour.api_url, (harbour.root / "api-key").read_text().strip()) as api:
        shop = await Shop.opened(harbour, api, "shop")
        deployment = await shop.deploy("one", regions=["local"])
        await _let_hang(harbour, deployment)
        async with console.opened(browser, harbour.api_url, api.key) as page:
            begun = time.perf_counter()
            await page.goto(f"/deployments/{deployment}")
            took = time.perf_counter() - begun
            await expect(page.get_by_role("heading", level=1)).to_contain_text("Live")
            await expect(page.get_by_text(shop.host)).to_be_visible()
            await expect(page.get_by_text("It cannot be read now: the platform that runs it")).to_be_visible()

    assert took < MOST_SECONDS


async def _let_hang(stack: Stack, deployment: str) -> None:
    """From now on its instances are said to run where nothing answers."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        await db.execute("UPDATE instances SET region = 'harbour' WHERE deployment_id = %s", deployment)
    finally:
        await db.close()
