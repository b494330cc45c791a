"""What the gateway is told, what it answers, and which words may reach it. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, StringConstraints

from lifecycle.models import Durable

_DEPLOYMENT = r"[a-z]{2,8}_[a-z0-9]{1,64}"
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"

STOPPED = "stopped"
"""The goal of a host whose deployment was stopped."""


class GatewayDownError(Exception):
    """HAProxy cannot be reached, did not answer in time, or did not understand; retrying may help."""


def _reachable(address: str) -> str:
    host, _, port = address.rpartition(":")
    # Leading zeros make another spelling of the same address, which would look like a difference for ever.
    if f"{IPv4Address(host)}:{int(port)}" != address or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address} is not an IPv4 address with a port")
    return address


# These patterns are all that keeps a name from becoming a second command on HAProxy's socket, or a second line of
# a map; `runtime.py` looks once more.
ProjectId = Annotated[str, StringConstraints(pattern=rf"^{_DEPLOYMENT}$")]
DeploymentId = Annotated[str, StringConstraints(pattern=rf"^{_DEPLOYMENT}$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Goal = Annotated[str, StringConstraints(pattern=rf"^({_DEPLOYMENT}|suspended:{_MOMENT}|{STOPPED})$")]
Address = Annotated[str, StringConstraints(pattern=r"^[0-9.]{7,15}:[0-9]{1,5}$"), AfterValidator(_reachable)]
Addresses = Annotated[tuple[Address, ...], Field(max_length=256)]
Generation = Annotated[int, Field(ge=0, lt=1 << 53)]


def suspended(due_at: datetime) -> str:
    """The goal of a host whose project is going to be deleted at `due_at`."""
    # Cut to seconds: better too little time left than too much.
    moment = due_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"suspended:{moment}"


class Change(Durable):
    """What one generation of a project's routes changes; what it does not name stays.

    Attributes:
        project: whose routes they are.
        generation: of the project's routes; it only grows.
        hosts: host name (lower case, no port) to its goal: a deployment's id, `suspended(due_at)` or `STOPPED`.
            None removes the host, unless it belongs to another project by now.
        targets: deployment id to the `ipv4:port` of its instances. None or none removes it.
    """

    project: ProjectId
    generation: Generation
    hosts: Mapping[HostName, Goal | None] = {}
    targets: Mapping[DeploymentId, Addresses | None] = {}


class Routes(Durable):
    """All routes of one project; the attributes are those of `Change`."""

    generation: Generation
    hosts: Mapping[HostName, Goal] = {}
    targets: Mapping[DeploymentId, Addresses] = {}


class Wanted(Durable):
    """All routes of all projects, by project id, as one reading of the database."""

    projects: Mapping[ProjectId, Routes] = {}


class Applied(Durable):
    """HAProxy serves it, and confirms this generation for the project."""

    generation: int


class Stale(Durable):
    """Nothing was done: a newer generation had been applied before."""

    newest: int


class Difference(NamedTuple):
    """Something that is not as the database has it.

    Attributes:
        place: `files`, which HAProxy reads when it starts, or `haproxy`, what it serves now.
        table: `hosts`, `targets`, `generations` or `pools`.
        key: host, deployment, project, or the server of a pool.
        wanted: as it should be, in the form of the map files; None when it should not be there.
        found: as it is.
    """

    place: str
    table: str
    key: str
    wanted: str | None
    found: str | None


class Differences(NamedTuple):
    """What a comparison found.

    Attributes:
        found: all that differs.
        overtaken: projects that were changed while the database was read; nothing is said about them.
    """

    found: tuple[Difference, ...] = ()
    overtaken: tuple[str, ...] = ()
