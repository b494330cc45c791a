"""Each checker of the promises about deployments finds the bug that is planted for it, and in honest stories none."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest

from lifecycle.deploy import events, moves, rules
from lifecycle.deploy.decision import Decision, Turn
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import Act, Environment, Fleet, Member, Woken
from tests.support import fleet_checks as checks
from tests.support.fleet_checks import ALWAYS, IN_THE_END, Checker, violations
from tests.support.fleet_model import World
from tests.support.fleets import PREVIEW, PRODUCTION

Story = Callable[[World], None]
Plant = Callable[[pytest.MonkeyPatch], object]


class Bug(NamedTuple):
    """A mistake, a story in which it shows, and the checker that finds it."""

    plant: Plant
    story: Story
    checker: Checker
    barrier: bool = True
    ordered: bool = True


def tell(story: Story, **world: bool) -> list[str]:
    """Live through a story; returns the names of the checkers that complained, at any moment or in the end."""
    told = World(**world)
    found: list[str] = []
    told.look = lambda: found.extend(violations(told, ALWAYS))
    story(told)
    told.run()
    return sorted({one.split(":")[0] for one in (*found, *violations(told, (*ALWAYS, *IN_THE_END)))})


def two_rollouts(world: World) -> None:
    """Two deployments in production, one after the other."""
    for _ in range(2):
        world.deploy(PRODUCTION, "main")
        world.run()


def pinned_and_deployed(world: World) -> None:
    """Rolled back, and then a third one is deployed."""
    two_rollouts(world)
    world.click("rollback", "dep_1")
    world.deploy(PRODUCTION, "main")


def with_a_domain(world: World) -> None:
    """Somebody brings a domain along, and rolls back."""
    two_rollouts(world)
    world.add_domain(PRODUCTION)
    world.run()
    world.click("rollback", "dep_1")


def live_one_stopped(world: World) -> None:
    """Somebody tries to stop what is live."""
    two_rollouts(world)
    world.click("stop", "dep_2")


def stopped_one_promoted(world: World) -> None:
    """Somebody tries to promote what is stopped."""
    two_rollouts(world)
    world.click("stop", "dep_1")
    world.run()
    world.click("promote", "dep_1")


def stopped_at_once(world: World) -> None:
    """Replaced and stopped while the routes are busy with something else; instances are quicker than routes."""
    two_rollouts(world)
    world.add_domain(PREVIEW)
    world.click("rollback", "dep_1")
    world.click("stop", "dep_2")
    for _ in range(3):
        for step in reversed(world.steps()):
            step()
        world.look()


def rolled_back_to_at_once(world: World) -> None:
    """Stopped, and rolled back to before the instances were gone."""
    two_rollouts(world)
    world.click("stop", "dep_1")
    world.click("rollback", "dep_1")


def stopped_while_waking(world: World) -> None:
    """Woken, stopped, and rolled back to, before the first instances were healthy."""
    two_rollouts(world)
    world.click("stop", "dep_1")
    world.run()
    world.click("wake", "dep_1")
    world.click("stop", "dep_1")
    world.click("rollback", "dep_1")


def older_and_newer(world: World) -> None:
    """An older rollout ends after a newer one is live, which the order of the queue prevents as well."""
    two_rollouts(world)
    world.fleet = world.fleet.model_copy(update={"numbered": 0})
    world.deploy(PRODUCTION, None)


def cancelled_in_time(world: World) -> None:
    """Cancelled while its instances start; another one waits."""
    two_rollouts(world)
    world.deploy(PRODUCTION, "main")
    world.deploy(PRODUCTION, "next")
    while "dep_3" not in world.up:
        world.advance(0, luck=True)
    world.click("cancel", "dep_3")


def rolled_back_in_both_environments(world: World) -> None:
    """Both rollbacks have to wake their targets."""
    for environment in (PRODUCTION, PRODUCTION, PREVIEW, PREVIEW):
        world.deploy(environment, None)
        world.run()
    for action in ("stop", "rollback"):
        world.click(action, "dep_1")
        world.click(action, "dep_3")


def scheduled_and_cancelled(world: World) -> None:
    """A deletion is scheduled and cancelled while one deployment is live and one stands by."""
    two_rollouts(world)
    before = world.picture()
    world.follow(due=True, rest=True)
    world.run()
    world.follow(due=False)
    world.run()
    world.pictures.append((before, world.picture()))


def _ignore_pin_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    def activation(fleet: Fleet, member: Member, *, live: bool) -> Decision:  # noqa: ARG001  the bug
        return moves.activation(fleet, member, live=True)

    monkeypatch.setattr(events, "activation", activation)


def _expect_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = moves.make_live

    def make_live(fleet: Fleet, member: Member) -> Decision:
        decision = honest(fleet, member)
        turned = [
            Turn(one.switch.model_copy(update={"expected": None})) if isinstance(one, Turn) else one
            for one in decision.effects
        ]
        return decision._replace(effects=tuple(turned))

    monkeypatch.setattr(moves, "make_live", make_live)


def _heed_old_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = events.woken

    def woken(fleet: Fleet, message: Woken) -> Decision:
        return honest(fleet, message.model_copy(update={"number": 0}))

    monkeypatch.setattr(events, "woken", woken)


def _promote_whatever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def promote(fleet: Fleet, command: Act) -> Decision:
        return moves.make_live(fleet, next(one for one in fleet.members if one.id == command.deployment))

    monkeypatch.setattr(rules, "promote", promote)


def _forget_every_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "without_rollbacks", lambda fleet, *_: moves.without_rollbacks(fleet, *Environment))


def _do_nothing(module: ModuleType, name: str) -> Plant:
    return lambda monkeypatch: monkeypatch.setattr(module, name, lambda fleet, *_: Decision(fleet))


def _say(module: ModuleType, name: str, *, answer: bool) -> Plant:
    return lambda monkeypatch: monkeypatch.setattr(module, name, lambda *_: answer)


def _leave_custom_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "LIVE_KINDS", (Kind.ENVIRONMENT, Kind.LIVE))


def _nothing(_: pytest.MonkeyPatch) -> None:
    """The bug is in how orders are carried out, not in the rules."""


BUGS = {
    "stops what is live": Bug(_say(rules, "needed", answer=False), live_one_stopped, checks.live_hosts_are_served),
    "heeds old answers": Bug(_heed_old_answers, stopped_while_waking, checks.live_hosts_are_served),
    "forgets instances before routes": Bug(_nothing, stopped_at_once, checks.live_hosts_are_served, barrier=False),
    "stops and wakes at once": Bug(_nothing, rolled_back_to_at_once, checks.live_hosts_are_served, ordered=False),
    "ignores the pin": Bug(_ignore_pin_and_age, pinned_and_deployed, checks.pins_hold),
    "ignores what is newer": Bug(_ignore_pin_and_age, older_and_newer, checks.the_newest_wins),
    "expects nothing": Bug(_expect_nothing, pinned_and_deployed, checks.switches_find_what_they_expect),
    "promotes what is stopped": Bug(_promote_whatever_it_is, stopped_one_promoted, checks.the_ended_never_go_live),
    "forgets custom domains": Bug(_leave_custom_domains, with_a_domain, checks.one_is_live),
    "removes nothing": Bug(_do_nothing(events, "removed"), cancelled_in_time, checks.what_is_wanted_runs),
    "begins nothing": Bug(_do_nothing(events, "begin_next"), cancelled_in_time, checks.nothing_is_left_under_way),
    "lets the idle run": Bug(_say(events, "idle", answer=False), two_rollouts, checks.what_is_idle_stands_by),
    "forgets rollbacks": Bug(_forget_every_rollback, rolled_back_in_both_environments, checks.clicks_are_kept),
    "never resumes": Bug(_do_nothing(events, "not_awaited"), scheduled_and_cancelled, checks.deletions_leave_no_trace),
}


@pytest.mark.parametrize("name", BUGS)
def test_an_honest_story_passes(name: str) -> None:
    """No checker complains while the rules are right."""
    assert tell(BUGS[name].story) == []


@pytest.mark.parametrize("name", BUGS)
def test_a_checker_finds_its_bug(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the rules, or in how they are carried out, is found by the checker that is for it."""
    bug = BUGS[name]
    bug.plant(monkeypatch)

    assert bug.checker.__name__ in tell(bug.story, barrier=bug.barrier, ordered=bug.ordered)


def test_every_checker_is_shown_to_fail() -> None:
    """A checker that never finds anything would protect nobody."""
    assert {bug.checker for bug in BUGS.values()} == {*ALWAYS, *IN_THE_END}
