"""What the tests need to know about each platform: commands that do the same thing, and how to look behind it."""

import json
import os
import secrets
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import aiohttp

from lifecycle.deploy.platforms.docker import DockerPlatform
from lifecycle.deploy.platforms.platform import Found, InstanceSpec, InstanceStatus, Platform, Running
from lifecycle.deploy.platforms.process import ProcessPlatform
from tests.support.docker import BUSYBOX_IMAGE, Docker
from tests.support.waiting import eventually

AT_ONCE = timedelta(0)
APP = Path(__file__).with_name("app.py")

_SERVE_IN_BUSYBOX = """
mkdir /www && echo -n "$GREETING" >/www/index.html
echo serving
trap 'echo asked to end; kill %1; exit 0' TERM
httpd -f -p "$PORT" -h /www & wait
"""
COMMANDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "process": {
        "serve": (sys.executable, str(APP)),
        "fail": ("sh", "-c", "echo boom; exit 3"),
        "stay": ("sh", "-c", "trap 'echo no' TERM; echo staying; while :; do sleep 0.1; done"),
        "take 200 MiB": (sys.executable, "-c", "import time; bytearray(200 << 20); print('taken'); time.sleep(600)"),
        "nonsense": ("no-such-program",),
    },
    "docker": {
        "serve": ("sh", "-c", _SERVE_IN_BUSYBOX),
        "fail": ("sh", "-c", "echo boom; exit 3"),
        "stay": ("sh", "-c", "trap 'echo no' TERM; echo staying; while :; do sleep 0.1; done"),
        "take 200 MiB": ("sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1 && echo taken && sleep 600"),
        "nonsense": ("no-such-program",),
    },
}


class Kit(ABC):
    """One platform, and how to look behind it."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.mark = f"mark-{secrets.token_hex(8)}"
        self.platform = self.again()

    @abstractmethod
    def again(self) -> Platform:
        """Another object for the same region, as another worker has it."""

    @abstractmethod
    def broken(self) -> Platform:
        """A region of this kind that cannot be reached."""

    @abstractmethod
    async def kill(self, instance: str) -> None:
        """End the command of an instance from outside (SIGKILL)."""

    @abstractmethod
    async def rest(self) -> Sequence[str]:
        """All that the platform holds, by name."""

    @abstractmethod
    def spec(self, what: str, *, deployment: str = "d_one", project: str = "prj_one") -> InstanceSpec:
        """An instance that does `what`, with a new id."""

    def _spec(self, what: str, *, deployment: str, project: str) -> InstanceSpec:
        return InstanceSpec(
            id=f"i-{secrets.token_hex(6)}",
            project=project,
            deployment=deployment,
            region="here",
            command=tuple(COMMANDS[self._kind][what]),
            memory_mib=128,
        )

    def environment(self, greeting: str = "hello") -> dict[str, str]:
        """Variables with a mark by which every process of this kit can be found."""
        return {"GREETING": greeting, "MARK": self.mark}

    async def serving(self, spec: InstanceSpec, greeting: str = "hello") -> Running:
        """The instance after its start, when it answers."""
        started = await self.platform.start(spec, self.environment(greeting))
        assert isinstance(started, Running)
        await eventually(lambda: answers(started.address, greeting), within=15)
        return started

    async def found(self, instance: str) -> Found:
        """The instance as the platform has it."""
        found = await self.platform.inspect(instance)
        assert found is not None
        return found

    async def exited(self, instance: str) -> Found:
        """The instance once it ended."""

        async def look() -> Found | None:
            found = await self.found(instance)
            return found if found.status == InstanceStatus.EXITED else None

        return await eventually(look, within=15)

    def processes(self) -> Sequence[int]:
        """Every process of this kit's instances, also in containers."""
        return processes_with(self.mark)

    async def close(self) -> None:
        """Remove every instance."""
        for found in await self.platform.find():
            await self.platform.remove(found.id, grace=AT_ONCE)
        await self.platform.close()


class ProcessKit(Kit):
    """Local processes in a folder of this test."""

    def __init__(self, root: Path) -> None:
        self.root = root / "instances"
        self._elsewhere = root
        super().__init__("process")

    def again(self) -> ProcessPlatform:
        """Another object on the same root."""
        return ProcessPlatform(self.root)

    def broken(self) -> ProcessPlatform:
        """A root that cannot be one: something is in its place."""
        obstacle = self._elsewhere / "file"
        obstacle.touch()
        return ProcessPlatform(obstacle)

    def spec(self, what: str, *, deployment: str = "d_one", project: str = "prj_one") -> InstanceSpec:
        """An instance that runs a command."""
        return self._spec(what, deployment=deployment, project=project)

    def leader(self, instance: str) -> int:
        """The process that leads the session of an instance."""
        return int(json.loads((self.root / instance / "record.json").read_text())["pid"])

    async def kill(self, instance: str) -> None:
        """Kill what the leader started."""
        leader = self.leader(instance)
        children = Path(f"/proc/{leader}/task/{leader}/children")
        for child in await eventually(lambda: children.read_text().split(), within=5):
            os.kill(int(child), signal.SIGKILL)

    async def rest(self) -> Sequence[str]:
        """Files and folders below the root."""
        return [str(path) for path in self.root.rglob("*")]


class DockerKit(Kit):
    """Containers of the private engine."""

    def __init__(self, docker: Docker, network: str, folder: Path) -> None:
        self.docker = docker
        self._network = network
        self._folder = folder
        super().__init__("docker")

    def again(self) -> DockerPlatform:
        """Another client of the same engine."""
        return DockerPlatform(self.docker.environment["DOCKER_HOST"], network=self._network)

    def broken(self) -> DockerPlatform:
        """A socket that nobody listens on."""
        return DockerPlatform(f"unix://{self._folder}/nobody.sock")

    def spec(self, what: str, *, deployment: str = "d_one", project: str = "prj_one") -> InstanceSpec:
        """An instance that runs a command in the busybox image."""
        spec = self._spec(what, deployment=deployment, project=project)
        return spec.model_copy(update={"image": BUSYBOX_IMAGE})

    async def kill(self, instance: str) -> None:
        """Kill the container; Docker leaves one that was ended so alone."""
        await self.docker.run("kill", instance)

    async def rest(self) -> Sequence[str]:
        """Every container."""
        return (await self.docker.run("ps", "--all", "--format={{.Names}}")).split()


async def answers(address: str, greeting: str) -> bool:
    """Whether a web server at `address` says `greeting`."""
    try:
        async with aiohttp.ClientSession() as client, client.get(f"http://{address}/") as answer:
            return answer.status == 200 and await answer.text() == greeting
    except aiohttp.ClientError:
        return False


def processes_with(mark: str) -> Sequence[int]:
    """Every process with `mark` in its environment, also in containers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found
