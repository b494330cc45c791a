"""What a platform does: run instances of a deployment in one region, and say how they are."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from lifecycle.models import Durable


class PlatformDownError(Exception):
    """The platform cannot be reached or did not answer in time; retrying may help."""


class InstanceStatus(StrEnum):
    """How an instance is, as its platform sees it."""

    RUNNING = "running"
    EXITED = "exited"


class InstanceSpec(Durable):
    """One instance to run. Nothing secret is in here; environment variables go beside it.

    Attributes:
        id: the platform's name for it; starting it twice gives one instance.
        image: an OCI reference, for platforms that run images.
        command: what to run; for images it replaces the image's own command, empty keeps it.
        directory: working directory of `command`, for platforms that run commands.
        port: where it listens inside. None: the platform chooses and says so in `PORT`.
        memory_mib: most memory.
        cpu_millicores: most CPU, in thousandths of a core.
    """

    id: str
    project: str
    deployment: str
    region: str
    image: str | None = None
    command: tuple[str, ...] = ()
    directory: str | None = None
    port: int | None = None
    memory_mib: int = 512
    cpu_millicores: int = 1000


class Running(Durable):
    """It was started, or was running already. `address` is `host:port` as seen from the gateway."""

    address: str


class Refused(Durable):
    """It cannot be started, and trying again cannot change it. `why` is for the user."""

    why: str


class Found(Durable):
    """An instance as the platform has it. `address` is None while it does not run."""

    id: str
    project: str
    deployment: str
    status: InstanceStatus
    address: str | None = None
    exit_code: int | None = None
    restarts: int = 0


class Platform(Protocol):
    """One region. Every method may be repeated, and raises `PlatformDownError` when nobody answers."""

    async def start(self, spec: InstanceSpec, environment: Mapping[str, str]) -> Running | Refused:
        """Run the instance, or find that it runs; an exited one of this id is started again."""

    async def inspect(self, instance: str) -> Found | None:
        """One instance; None when there is none of this id."""

    async def find(self, *, project: str | None = None, deployment: str | None = None) -> Sequence[Found]:
        """Every instance of the project or deployment; without either, all that Lifecycle ever started here."""

    async def logs(self, instance: str, *, lines: int = 100) -> str:
        """The last lines of what it printed; empty when there is none of this id any more."""

    async def remove(self, instance: str, *, grace: timedelta) -> None:
        """Ask it to end, end it after `grace`, and remove everything that is left of it; absent is fine."""

    async def close(self) -> None:
        """Let go of connections. Instances go on."""


class Built(Durable):
    """An image was built under this reference."""

    image: str


@runtime_checkable
class Builder(Protocol):
    """A platform that builds images from source."""

    async def build(self, *, tag: str, source: Path, log: Path) -> Built | Refused:
        """Build the tarball `source`, which has a Dockerfile, and append what is printed to `log`."""
