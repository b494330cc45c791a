"""Fixtures of the chaos tests: servers of their own, and a table that is always shown."""

from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from lifecycle.dev.stack import Stack
from tests.chaos import nemesis, race
from tests.support.api import Api


@pytest.fixture(scope="module")
async def own_stack() -> AsyncIterator[Stack]:
    """The whole of Lifecycle, with the settings of the engine that it has in production."""
    async with nemesis.private_stack() as stack:
        yield stack


@pytest.fixture
async def api(own_stack: Stack) -> AsyncIterator[Api]:
    """The API, with the key of an administrator."""
    async with Api(own_stack.api_url, (own_stack.root / "api-key").read_text().strip()) as client:
        yield client


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str, Mapping[str, object]], None]:
    """Prints figures, also when the output of tests is captured."""

    def shown(title: str, figures: Mapping[str, object]) -> None:
        with capsys.disabled():
            print(race.table(title, figures))  # noqa: T201  the figures are what the run is for

    return shown
