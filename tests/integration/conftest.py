"""Fixtures of the integration tests."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifecycle.dev.stack import Stack
from tests.support import workbench
from tests.support.workbench import Workbench


@pytest.fixture(scope="session")
async def bench() -> AsyncIterator[Workbench]:
    """A worker in this process, on real servers; every handler is replayed at each step."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-bench-"))
    stack = Stack(
        root / "s",
        engine_environment={"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"},
        settings={"LIFECYCLE_RECONCILER_INTERVAL": "500ms", "LIFECYCLE_DELETION_PURGE_BUDGET": "1s"},
    )
    try:
        async with workbench.opened(stack) as opened:
            yield opened
    finally:
        await stack.stop()
        shutil.rmtree(root)
