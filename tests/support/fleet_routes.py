"""RoutingService as a model: the tables of a project and what one order makes of them, as `routing_store` does it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import LIVE_KINDS, Environment, Spec, Switch


@dataclass
class Route:
    """One hostname: what it follows, where it leads, and where it led before."""

    kind: Kind
    environment: Environment
    sticky: str
    deployment: str | None = None
    former: str | None = None


@dataclass
class Row:
    """One environment in the database."""

    live: str | None = None
    pinned: bool = False
    number: int = 0


class Turned(NamedTuple):
    """A switch that was carried out: whether the environment was pinned until then, and which live hosts it moved."""

    order: Switch
    pinned: bool
    moved: tuple[str, ...]


@dataclass
class Routes:
    """The routes of one project.

    Attributes:
        wanted: deployments with instances in the database.
        published: what the gateway was told of each host: its deployment, and whether that has instances.
        turned: the switches that were carried out, in order.
        conflicts: switches that found another live deployment than they expected.
    """

    wanted: set[str] = field(default_factory=set)
    hosts: dict[str, Route] = field(default_factory=dict)
    rows: dict[Environment, Row] = field(default_factory=lambda: {environment: Row() for environment in Environment})
    published: dict[str, tuple[str, bool]] = field(default_factory=dict)
    suspended: bool = False
    turned: list[Turned] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)

    def live_hosts(self, environment: Environment | None = None) -> Iterator[tuple[str, Route]]:
        """The hosts that follow what is live."""
        for host, route in self.hosts.items():
            if route.kind in LIVE_KINDS and environment in (None, route.environment):
                yield host, route

    def claim(self, spec: Spec) -> None:
        """Reserve the names of a deployment."""
        environment = spec.environment
        self._insert(Kind.COMMIT, environment, spec.id)
        self._insert(Kind.ENVIRONMENT, environment, environment.value)
        if spec.branch is not None:
            self._insert(Kind.BRANCH, environment, spec.branch)
        if environment is Environment.PRODUCTION:
            self._insert(Kind.LIVE, environment, environment.value)
        self.publish()

    def add_domain(self, environment: Environment) -> None:
        """Give an environment a domain that somebody brings along."""
        host = self._insert(Kind.CUSTOM, environment, environment.value)
        self.hosts[host].deployment = self.rows[environment].live
        self.publish()

    def suspend(self, *, suspended: bool) -> None:
        """Let every host say that the project will be deleted, or serve again."""
        self.suspended = suspended
        self.publish()

    def clear(self) -> None:
        """Serve no host any more."""
        for route in self.hosts.values():
            route.deployment = route.former = None
        self.published.clear()

    def switch(self, order: Switch, branch_of: Callable[[str], str | None]) -> None:
        """Move routes, live pointer and pin; an order older than the last does nothing."""
        row = self.rows[order.environment]
        if row.number >= order.number:
            return
        if order.live and row.live != order.expected:
            self.conflicts.append(f"{order.environment.value} has {row.live} live, not {order.expected}")
            return
        before = {host: route.deployment for host, route in self.live_hosts(order.environment)}
        pinned, row.number, row.pinned = row.pinned, order.number, order.pinned
        if order.live:
            row.live = order.deployment
        if order.back_from is not None:
            self._move_back(order.back_from)
        if order.deployment is not None or order.live:
            self._move(order, None if order.deployment is None else branch_of(order.deployment))
        moved = tuple(host for host, target in before.items() if self.hosts[host].deployment != target)
        self.turned.append(Turned(order, pinned, moved))
        self.publish()

    def publish(self) -> None:
        """Tell the gateway what the database says."""
        self.published = {
            host: (route.deployment, route.deployment in self.wanted)
            for host, route in self.hosts.items()
            if route.deployment is not None
        }

    def _insert(self, kind: Kind, environment: Environment, sticky: str) -> str:
        host = f"{kind.value}-{sticky}"
        self.hosts.setdefault(host, Route(kind, environment, sticky))
        return host

    def _move(self, order: Switch, branch: str | None) -> None:
        sticky = {Kind.COMMIT: order.deployment, Kind.BRANCH: branch}
        for route in self.hosts.values():
            follows = sticky.get(route.kind, order.environment.value)
            if route.kind in order.kinds and route.sticky == follows and route.deployment != order.deployment:
                route.former, route.deployment = route.deployment, order.deployment
                route.environment = order.environment

    def _move_back(self, back_from: str) -> None:
        for route in self.hosts.values():
            if route.deployment == back_from:
                route.deployment, route.former = route.former, None
