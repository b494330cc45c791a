"""Fixtures of the platform tests: each platform for real."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.platforms.kits import DockerKit, Kit, ProcessKit
from tests.support.containers import Engine


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[ProcessKit]:
    """The process platform in a folder of this test."""
    kit = ProcessKit(tmp_path)
    yield kit
    await kit.close()


@pytest.fixture
async def containers(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerKit]:
    """The Docker platform on the private engine."""
    kit = DockerKit(await engine.running(), engine.network, tmp_path)
    yield kit
    await kit.close()


@pytest.fixture(params=["process", "docker"])
async def kit(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> AsyncIterator[Kit]:
    """Each platform in turn; both keep the same promises."""
    made: Kit = ProcessKit(tmp_path)
    if request.param == "docker":
        made = DockerKit(await engine.running(), engine.network, tmp_path)
    yield made
    await made.close()
