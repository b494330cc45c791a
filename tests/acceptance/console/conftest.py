"""A browser, and people who are signed in."""

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, Page, expect

from lifecycle.dev.stack import Stack
from lifecycle.models import Role
from tests.support import console
from tests.support.api import Api
from tests.support.inside import key_of
from tests.support.shop import Shop

_PATIENCE = 10_000


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Lists rest for up to five seconds between two looks, so what is expected of a page is waited for longer."""
    expect.set_options(timeout=_PATIENCE)
    yield
    expect.set_options(timeout=None)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser of all tests."""
    async with console.chromium() as running:
        yield running


@pytest.fixture
async def visitor(browser: Browser, stack: Stack, api: Api) -> AsyncIterator[Page]:
    """A page of an administrator who is signed in."""
    async with console.opened(browser, stack.api_url, api.key) as page:
        yield page


@pytest.fixture
async def workspace(stack: Stack, slug: str) -> AsyncIterator[Api]:
    """An administrator of a workspace that nobody else uses."""
    token = await key_of(stack, workspace=slug, person="ada@example.com", role=Role.ADMINISTRATOR)
    async with Api(stack.api_url, token) as client:
        yield client


@pytest.fixture
async def shop(stack: Stack, api: Api, slug: str) -> Shop:
    """A project that nothing was deployed to yet."""
    return await Shop.opened(stack, api, slug)
