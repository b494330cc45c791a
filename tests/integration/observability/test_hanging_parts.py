"""Metrics while parts hang: they accept whoever comes, and never answer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from lifecycle.api.app import create_app
from tests.support.waiting import eventually
from tests.support.workbench import Workbench


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """A port that accepts and never answers."""
    kept: set[asyncio.StreamWriter] = set()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.add(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in kept:
            writer.close()


@asynccontextmanager
async def serving(bench: Workbench, **changed: object) -> AsyncIterator[str]:
    """An API with other settings than the rest; gives its URL."""
    settings = bench.stack.settings().model_copy(update=changed)
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, access_log=False, log_config=None)
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign,unused-ignore]
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, within=20)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def scrape(url: str) -> tuple[dict[str, float], frozenset[str], float]:
    """Ask for the metrics as Prometheus does: which parts answer, the names of all metrics, and the seconds it took."""
    started = time.perf_counter()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        text = await answer.text()
        assert answer.status == 200, text
    families = list(text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    parts = {sample.labels["part"]: sample.value for sample in samples if sample.name == "lifecycle_up"}
    return parts, frozenset(sample.name for sample in samples), time.perf_counter() - started


async def test_an_engine_that_hangs_is_seen_at_once_and_hides_nothing_else(bench: Workbench, silent: int) -> None:
    """The page says in time which parts do not answer, and has what the database knows."""
    url = f"http://127.0.0.1:{silent}"
    async with serving(bench, restate_admin_url=url, restate_ingress_url=url) as api:
        parts, names, seconds = await scrape(api)

    assert parts == {"database": 1, "engine": 0, "worker": 0}
    assert {"lifecycle_actions", "lifecycle_actions_overdue", "lifecycle_cancels_total"} <= names
    assert seconds < 5


async def test_when_everything_hangs_the_page_still_says_so(bench: Workbench, silent: int) -> None:
    """Parts are waited for side by side: three that hang take no longer than one."""
    url, database = f"http://127.0.0.1:{silent}", f"mysql://lifecycle:x@127.0.0.1:{silent}/lifecycle"
    changed = {"restate_admin_url": url, "restate_ingress_url": url, "database_url": SecretStr(database)}
    async with serving(bench, **changed) as api:
        parts, _, seconds = await scrape(api)

    assert parts == {"database": 0, "engine": 0, "worker": 0}
    assert seconds < 5


async def test_a_database_without_our_tables_hides_nothing_else(bench: Workbench) -> None:
    """Before the first migration the page says that the database is of no use yet, and what the others say."""
    url = urlsplit(bench.stack.settings().database_url.get_secret_value())
    empty = SecretStr(urlunsplit(url._replace(path="/information_schema")))
    async with serving(bench, database_url=empty) as api:
        parts, _, _ = await scrape(api)

    assert parts == {"database": 0, "engine": 1, "worker": 1}
