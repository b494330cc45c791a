"""The worker dies of SIGKILL at every single point of a rollout, a rollback, a promote and a stop, one run each."""

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from tests.integration.deploy.conftest import Yard
from tests.support.mortal import PASSED_BY_ITSELF, quiet
from tests.support.shop import Shop

_SWITCH = (
    "RoutingService/switch_domains",
    "RoutingService/switch_domains/move-routes",
    "RoutingService/switch_domains/tell-gateway",
    "DeploymentService/switched",
    "StandbyService/schedule_stop",
    "StandbyService/keep",
    "Ledger/record",
)
_REFRESH = (
    "RoutingService/refresh",
    "RoutingService/refresh/write-configs",
    "RoutingService/refresh/tell-gateway",
)
POINTS: Mapping[str, Sequence[str]] = {
    "rollout": (
        "DeploymentService/deploy",
        "Rollout/run",
        "Rollout/run/accept",
        "Rollout/run/start-instances",
        "Rollout/run/begin-wait",
        "Rollout/run/look-0",
        "Rollout/run/end-of-wait",
        "Rollout/run/begin-assign",
        "RoutingService/assign_domains",
        "RoutingService/assign_domains/claim-names",
        "RoutingService/assign_domains/write-configs",
        "RoutingService/assign_domains/tell-gateway",
        "Rollout/run/end-assign",
        "Rollout/run/scrape-openapi",
        "Rollout/run/begin-activate",
        "DeploymentService/activate",
        *_SWITCH,
        "Rollout/activated",
        "Rollout/run/end-activate",
        "Rollout/run/finalize",
        "DeploymentService/settle",
    ),
    "rollback": ("DeploymentService/rollback", *_SWITCH),
    "rollback to a stopped one": (
        "DeploymentService/rollback",
        "InstanceService/wake",
        "InstanceService/wake/start",
        "InstanceService/wake/look-0",
        *_REFRESH,
        "DeploymentService/woken",
        *_SWITCH,
    ),
    "promote": ("DeploymentService/promote", *_SWITCH),
    "stop": (
        "DeploymentService/stop",
        "InstanceService/stop",
        "InstanceService/stop/unwant",
        *_REFRESH,
        "InstanceService/stop/remove",
        "StandbyService/keep",
        "Ledger/record",
    ),
}
# CI kills before and after every journaled step, and after every handler of a rollout; `-m chaos` does the rest.
_RUNS = [
    pytest.param(
        story,
        point,
        when,
        id=f"{story}: {when} {point}",
        marks=[] if point.count("/") == 2 or (when == "after" and story == "rollout") else pytest.mark.chaos,
    )
    for story, points in POINTS.items()
    for point in points
    for when in ("before", "after")
]
# Of every project and of nobody's doing.
_BACKGROUND = (*PASSED_BY_ITSELF, "DeploymentService/state")
_MOST_RUNS = 12


class Street:
    """A project with a live deployment and one that was replaced."""

    def __init__(self, shop: Shop) -> None:
        self._versions = itertools.count(1)
        self._texts: dict[str, str] = {}
        self._idle = ""
        self.shop = shop
        self.live = ""
        self.other = ""
        self.runs = 0

    async def prepare(self, story: str) -> None:
        """Bring everything into the state in which the story begins."""
        while not self.other:
            await self.tell("rollout")
        if self._idle:
            await self.shop.done(self._idle, "stop")
        live, other = await self.shop.show(self.live), await self.shop.show(self.other)
        if story == "rollout" and live["pinned"]:
            await self.shop.done(self.live, "promote")
        if story == "rollback to a stopped one" and other["status"] == "ready":
            await self.shop.done(self.other, "stop")
        if story in {"rollback", "promote", "stop"} and other["status"] == "stopped":
            await self.shop.done(self.other, "wake")
            await self.shop.until(self.other, "ready")

    async def tell(self, story: str) -> None:
        """Let the story happen; it is over when visitors see its end."""
        match story:
            case "rollout":
                version = f"v{next(self._versions)}"
                self._idle, self.other, self.live = self.other, self.live, await self.shop.begin(version)
                self._texts[self.live] = version
                await self.shop.until(self.live, "ready")
            case "stop":
                await self.shop.done(self.other, "stop")
                await self.shop.until(self.other, "stopped")
            case _:
                await self.shop.done(self.other, story.partition(" ")[0])
                self.live, self.other = self.other, self.live
        await self.shop.serves(self._texts[self.live])


@pytest.fixture(scope="module")
async def streets() -> list[Street]:
    """The street that is in use, if any."""
    return []


@pytest.fixture
async def street(yard: Yard, streets: list[Street], slug: str) -> AsyncIterator[Street]:
    """A street that came well out of all runs before."""
    found = streets.pop() if streets else Street(await yard.shop(slug))
    found.runs += 1
    yield found
    if found.runs < _MOST_RUNS:
        streets.append(found)


@pytest.mark.parametrize(("story", "point", "when"), _RUNS)
async def test_a_worker_that_is_killed_is_not_noticed(
    yard: Yard, street: Street, story: str, point: str, when: str
) -> None:
    """Wherever the worker dies, all ends as if it had not: one live deployment, no orphan, the gateway agrees."""
    await street.prepare(story)
    await quiet(yard.stack)
    with yard.points.death_at(point, when):
        await street.tell(story)
        truth = await yard.ends_well(street.shop.id)

    assert truth.fleet.live == {"production": street.live}
    assert bool(truth.fleet.pinned) == story.startswith("rollback")
    assert (await street.shop.show(street.live))["status"] == "ready"


@pytest.mark.parametrize("story", POINTS)
async def test_no_point_is_left_out(yard: Yard, street: Street, story: str) -> None:
    """The list of points at which the worker is killed is the list of those that it passes."""
    await street.prepare(story)
    await quiet(yard.stack)
    yard.points.forget()
    await street.tell(story)
    await yard.ends_well(street.shop.id)
    passed = {line.rpartition(" ")[0] for line in yard.points.passed()}

    assert {point for point in passed if not point.startswith(_BACKGROUND)} == set(POINTS[story])
