"""Pools: never two deployments in one, none without rest in between, instances keep their server."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from lifecycle.deploy.gateway.maps import SINGLE, Target
from lifecycle.deploy.gateway.pools import Pools
from tests.support.profiles import STORIES

_NOW = datetime(2026, 11, 21, tzinfo=UTC)
_DEPLOYMENTS = st.sampled_from([f"dep_{n}" for n in range(6)])
_ADDRESSES = st.lists(st.sampled_from([f"10.0.0.{n}:80" for n in range(1, 8)]), min_size=1, max_size=6, unique=True)


class Deployments(RuleBasedStateMachine):
    """Deployments that come, scale and go, with everything read from the files anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = _NOW
        self.targets: dict[str, str] = {}
        self.text = Pools(2, 2).render({}, page="/p")
        self.wanted: dict[str, list[str]] = {}
        self.left: dict[str, datetime] = {}

    def _read(self) -> Pools:
        pools = Pools.parse(self.text, count=2, slots=2)
        pools.claim(self.targets)
        return pools

    @rule(deployment=_DEPLOYMENTS, addresses=_ADDRESSES)
    def place(self, deployment: str, addresses: list[str]) -> None:
        """A deployment has these instances from now on."""
        pools, former = self._read(), self.targets.get(deployment)
        target = pools.place(deployment, "prj_1", addresses, former=former, now=self.now)
        before = None if former is None else Target.parse(former)
        if before is not None and before.backend == target.backend != SINGLE:
            kept = set(before.seats) & set(target.seats) - {""}
            assert all(before.seats.index(one) == target.seats.index(one) for one in kept)
        elif target.backend in self.left:
            assert self.now - self.left[target.backend] >= timedelta(minutes=1)
        self.targets[deployment] = str(target)
        self.wanted[deployment] = addresses
        self.text = pools.render(self.targets, page="/p")

    @precondition(lambda self: self.targets)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """A deployment is gone."""
        deployment = data.draw(st.sampled_from(sorted(self.targets)))
        pools, former = self._read(), self.targets.pop(deployment)
        pools.release(deployment, former, now=self.now)
        target = Target.parse(former)
        assert target is not None
        if target.backend != SINGLE:
            self.left[target.backend] = self.now
        del self.wanted[deployment]
        self.text = pools.render(self.targets, page="/p")

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)

    @invariant()
    def every_deployment_has_its_instances_and_no_others(self) -> None:
        """A visitor never comes to somebody else's instance, and every instance of one's own is there."""
        targets = {name: Target.parse(value) for name, value in self.targets.items()}
        backends = [target.backend for target in targets.values() if target and target.backend != SINGLE]
        assert len(backends) == len(set(backends))
        seats = self._read().seats(self.targets)
        for name, target in targets.items():
            assert target is not None
            assert set(target.seats) - {""} == set(self.wanted[name])
            if target.backend != SINGLE:
                assert set(seats[target.backend]) - {""} == set(self.wanted[name])
        assert sum(any(some) for some in seats.values()) == len(backends)


def test_any_order_of_coming_scaling_and_going() -> None:
    """Whatever happens in whatever order, no two deployments ever share a pool."""
    run_state_machine_as_test(Deployments, settings=STORIES)


def test_pools_double_when_all_are_taken() -> None:
    """The number of deployments with several instances is not limited."""
    pools = Pools(2, 2)
    targets = {
        f"dep_{n}": str(pools.place(f"dep_{n}", "prj_1", ["10.0.0.1:80", "10.0.0.2:80"], former=None, now=_NOW))
        for n in range(5)
    }

    assert pools.count == 8
    assert len({value.split("/")[1] for value in targets.values()}) == 5


def test_a_deployment_with_one_instance_takes_no_pool() -> None:
    """Most deployments have one instance; they cost the gateway one line."""
    assert Pools(2, 2).place("dep_1", "prj_1", ["10.0.0.1:80"], former=None, now=_NOW).backend == SINGLE


def test_one_pool_named_by_two_deployments_belongs_to_the_first() -> None:
    """A file that was edited by hand does not mix two deployments."""
    shared = "prj_1/pool-0001/10.0.0.1:80,10.0.0.2:80"
    pools = Pools(2, 2)
    pools.claim({"dep_1": shared, "dep_2": shared})
    placed = pools.place("dep_2", "prj_1", ["10.0.0.3:80", "10.0.0.4:80"], former=shared, now=_NOW)

    assert placed.backend == "pool-0002"
