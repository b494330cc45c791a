"""The fixtures of the tests that issue certificates under the worst conditions."""

from collections.abc import AsyncIterator

import pytest

from tests.support import issuer
from tests.support.issuer import Desk

SETTINGS = {
    "LIFECYCLE_RECONCILER_INTERVAL": "1s",
    "LIFECYCLE_DELETION_PURGE_BUDGET": "2s",
    "LIFECYCLE_DATABASE_POOL_SIZE": "20",
}


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Desk]:
    """The servers of all these tests."""
    async with issuer.opened(SETTINGS) as desk:
        yield desk


@pytest.fixture
async def desk(servers: Desk) -> Desk:
    """A desk where nothing is wrong yet."""
    await servers.forgive()
    return servers
