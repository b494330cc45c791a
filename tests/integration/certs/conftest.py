"""Certificate authorities: the Pebble that is installed, and a newer one where it could be had."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.integration.certs.authority import NEWER, Lab, Wire, laboratory, wired
from tests.integration.certs.issuance_desk import desk, servers

__all__ = ["desk", "servers"]  # fixtures
from tests.support.certified import Site, certified
from tests.support.newer_pebble import needed


@pytest.fixture(scope="session")
async def lab() -> AsyncIterator[Lab]:
    """The installed Pebble, with a second root and one blocked domain."""
    options: dict[str, JsonValue] = {"domainBlocklist": ["blocked-domain.example"]}
    async with laboratory(options=options, environment={"PEBBLE_ALTERNATE_ROOTS": "1"}) as opened:
        yield opened


@pytest.fixture(scope="session")
async def newer() -> AsyncIterator[Lab]:
    """A Pebble with renewal information and profiles, one of which lives a minute."""
    needed()
    profiles: dict[str, JsonValue] = {
        "classic": {"description": "90 days", "validityPeriod": 7_776_000},
        "oneminute": {"description": "a minute", "validityPeriod": 60},
    }
    async with laboratory(programs=NEWER, options={"profiles": profiles}) as opened:
        directory = opened.ca.directory()
        assert directory.renewal_info, "the fetched Pebble offers no renewal information: remove .tools/pebble"
        assert directory.profiles, "the fetched Pebble offers no profiles: remove .tools/pebble"
        yield opened


@pytest.fixture
async def wire(lab: Lab) -> AsyncIterator[Wire]:
    """The installed Pebble, behind a wire that can lose answers."""
    async with wired(lab) as opened:
        yield opened


@pytest.fixture(scope="session")
async def site() -> AsyncIterator[Site]:
    """All of Lifecycle, two CAs and a BIND; every handler is replayed at each step."""
    async with _certified({"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"}) as opened:
        yield opened


@pytest.fixture(scope="session")
async def swift_site() -> AsyncIterator[Site]:
    """The same as it is in production, without replays, for what takes minutes."""
    async with _certified({}) as opened:
        yield opened


@asynccontextmanager
async def _certified(environment: Mapping[str, str]) -> AsyncIterator[Site]:
    root = Path(tempfile.mkdtemp(prefix="lifecycle-site-"))
    try:
        async with certified(
            root, settings={"LIFECYCLE_RECONCILER_INTERVAL": "500ms"}, environment=environment
        ) as opened:
            yield opened
    finally:
        shutil.rmtree(root)
