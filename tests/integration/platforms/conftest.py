"""Fixtures of the platform tests: each platform for real, and a private container engine, started when it is needed."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.integration.platforms.kits import DockerKit, Kit, ProcessKit
from tests.support import docker
from tests.support.docker import Docker, DockerUnavailableError


class Engine:
    """The private engine of this run. Where it cannot run, tests that need it are skipped, but never in CI."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._docker: Docker | None = None
        self._reason: DockerUnavailableError | None = None
        self.network = f"lifecycle-{secrets.token_hex(4)}"

    async def running(self) -> Docker:
        """The engine with its image and network; the first caller starts it."""
        if self._docker is None and self._reason is None:
            try:
                docker.program("docker-registry")
                self._docker = await self._stack.enter_async_context(docker.engine())
                await docker.make_busybox_image(self._docker)
                await self._docker.run("network", "create", self.network)
            except DockerUnavailableError as error:
                self._reason = error
        if self._reason is not None:
            if os.environ.get("CI"):
                raise self._reason
            pytest.skip(str(self._reason))
        assert self._docker is not None
        return self._docker


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[Engine]:
    """The private engine, not yet started; nothing of it is left afterwards."""
    async with AsyncExitStack() as stack:
        yield Engine(stack)


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
