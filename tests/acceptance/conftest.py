"""Fixtures of the acceptance tests."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifecycle.dev.stack import Stack
from tests.support.api import Api


@pytest.fixture(scope="module")
async def own() -> AsyncIterator[Stack]:
    """A stack of one module, whose servers may be stopped and killed."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-outage-"))
    running = Stack(root / "s", settings={"LIFECYCLE_RECONCILER_INTERVAL": "1s", "LIFECYCLE_REQUEST_TIMEOUT": "4s"})
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        shutil.rmtree(root)


@pytest.fixture
async def client(own: Stack) -> AsyncIterator[Api]:
    """The API of that stack."""
    async with Api(own.api_url, (own.root / "api-key").read_text().strip()) as found:
        yield found
