"""Fixtures for all tests: a clean environment, and the real servers, started once per run."""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.containers import Engine

for _name in [name for name in os.environ if name.startswith(("LIFECYCLE_", "RESTATE_"))]:
    del os.environ[_name]

# What a script starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, and nothing about us.
settings.register_profile("anywhere", deadline=None)
settings.load_profile("anywhere")


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[Stack]:
    """The whole of Lifecycle, with real servers, as `lifecycle dev` starts it.

    The engine replays every handler from its journal at each step, so that code which is not deterministic fails.
    """
    # Not pytest's tmp_path: the path of a Unix socket may have 108 characters at most.
    root = Path(tempfile.mkdtemp(prefix="lifecycle-test-"))
    running = Stack(
        root / "s",
        engine_environment={"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"},
        settings={"LIFECYCLE_RECONCILER_INTERVAL": "1s", "LIFECYCLE_DELETION_PURGE_BUDGET": "2s"},
    )
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        shutil.rmtree(root)


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[Api]:
    """The API, with the key of an administrator."""
    async with Api(stack.api_url, (stack.root / "api-key").read_text().strip()) as client:
        yield client


@pytest.fixture
def slug() -> str:
    """A slug that no other test uses."""
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[Engine]:
    """The private container engine, not yet started; nothing of it is left afterwards."""
    async with AsyncExitStack() as stack:
        yield Engine(stack)
