"""The private container engine that one test run shares, a registry beside it, and tarballs to build from."""

import io
import os
import secrets
import shutil
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from lifecycle.dev import ports
from lifecycle.dev.process import Child
from tests.support import docker
from tests.support.docker import Docker, DockerUnavailableError

_REGISTRY_SETTINGS = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
"""


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


@asynccontextmanager
async def registry(folder: Path) -> AsyncIterator[str]:
    """A real registry on this machine, by its address; no login is needed. The folder is removed."""
    port = ports.assign(("registry",), remembered=folder / "ports.json", given={})["registry"]
    address, settings = f"127.0.0.1:{port}", folder / "settings.yml"
    settings.write_text(_REGISTRY_SETTINGS.format(folder=folder / "data", address=address))
    command = (docker.program("docker-registry"), "serve", str(settings))
    child = Child("docker-registry", command, environment={}, log=folder / "log")
    child.start()

    async def is_ready() -> bool:
        try:
            async with aiohttp.ClientSession() as client, client.get(f"http://{address}/v2/") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    try:
        await child.wait_until(is_ready, within=timedelta(seconds=20))
        yield address
    finally:
        await child.stop()
        shutil.rmtree(folder)


def tarball(files: Mapping[str, str]) -> bytes:
    """A tarball with these files, by name."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()
