"""A stack for deployments that go wrong: its servers may be killed, and its worker at any exact point."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from lifecycle.client import Client
from lifecycle.dev.stack import Stack
from tests.support import deploy_checks, shop
from tests.support.api import Api
from tests.support.mortal import Points, mortal_stack, quiet
from tests.support.shop import Shop
from tests.support.waiting import eventually

SETTINGS = {
    "LIFECYCLE_RECONCILER_INTERVAL": "1s",
    "LIFECYCLE_DEPLOY_READY_WITHIN": "4s",
    "LIFECYCLE_DATABASE_POOL_SIZE": "20",
}


class Yard(NamedTuple):
    """The servers, the points of the worker, a client of the engine, and the API."""

    stack: Stack
    points: Points
    client: Client
    api: Api

    async def shop(self, slug: str) -> Shop:
        """A new project."""
        return await Shop.opened(self.stack, self.api, slug)

    async def ends_well(self, project: str, *, within: float = 20) -> deploy_checks.Truth:
        """The truth about a project once all has come to rest, when nothing is wrong with it."""
        await quiet(self.stack, within=within)

        async def clean() -> deploy_checks.Truth:
            truth = await deploy_checks.look(self.stack, project, await self.client.fleet(project))
            assert deploy_checks.violations(truth) == []
            return truth

        return await eventually(clean, within=within)


@pytest.fixture(scope="session")
async def yard() -> AsyncIterator[Yard]:
    """The stack of all tests about deployments that go wrong."""
    async with (
        mortal_stack(SETTINGS) as (stack, points),
        Client.opened(stack.settings()) as client,
        shop.client(stack) as api,
    ):
        yield Yard(stack, points, client, api)
