"""What people may do with deployments, and what follows, by example."""

import pytest

from lifecycle.deploy import rules
from lifecycle.deploy.decision import Decision, Halt, Keep, Rest, Roll, Rouse, Stand, Turn
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import LIVE_KINDS, Fleet, Status
from lifecycle.errors import Code, LifecycleError
from tests.support.factories import BOB, OLIVIA
from tests.support.fleets import (
    PREVIEW,
    PRODUCTION,
    actions,
    activate,
    ask,
    called_off,
    confirm,
    deploy,
    finalizing,
    fleet_of,
    grace,
    member,
    of_kind,
    only,
    rolled_out,
    rouse,
    scheduled,
    settle,
    spec,
    without_keeps,
    woken,
)


def stopped(fleet: Fleet, number: int) -> Fleet:
    """The fleet after somebody stopped one deployment."""
    return ask("stop", fleet, number).fleet


def queued(fleet: Fleet) -> list[str]:
    """Which deployments wait for their rollout, the next one first."""
    return [waiting.id for waiting in fleet.queued]


def test_the_first_deployment_rolls_out_at_once() -> None:
    """Where nothing is rolling, a rollout begins when it is asked for."""
    decision = deploy(Fleet(), 1, branch="main")
    one = member(decision.fleet, 1)

    assert decision.effects == (Roll(spec(1, branch="main")),)
    assert actions(decision) == ["deployment.created"]
    assert decision.transitions[0].actor == OLIVIA
    assert decision.transitions[0].detail == {"environment": "production", "number": 1}
    assert (one.number, one.status, one.running) == (1, Status.STARTING, True)
    assert (decision.fleet.rolling, decision.fleet.queued) == ("dep_1", ())
    assert (decision.fleet.project, decision.fleet.workspace) == ("prj_1", "ws_1")


def test_one_rollout_at_a_time() -> None:
    """Later deployments wait, the oldest first, and begin when the one before has ended."""
    fleet = deploy(deploy(deploy(Fleet(), 1).fleet, 2).fleet, 3).fleet
    assert queued(fleet) == ["dep_2", "dep_3"]
    assert member(fleet, 2).status is Status.QUEUED

    ended = settle(fleet, 1, Status.FAILED)
    assert only(ended, Roll).spec.id == "dep_2"
    assert (ended.fleet.rolling, queued(ended.fleet)) == ("dep_2", ["dep_3"])


def test_deploying_the_same_again_changes_nothing() -> None:
    """A repeated request finds the deployment that it made, even when the project is about to end."""
    fleet = scheduled(deploy(Fleet(), 1).fleet).fleet

    assert deploy(fleet, 1) == Decision(fleet)


def test_a_newer_deployment_supersedes_those_of_its_branch_that_wait() -> None:
    """Of several commits on a branch only the newest is rolled out; other branches and environments keep theirs."""
    fleet = deploy(Fleet(), 1, branch="main").fleet
    for number, branch in ((2, "main"), (3, "other"), (4, None)):
        fleet = deploy(fleet, number, branch=branch).fleet
    fleet = deploy(fleet, 5, branch="main", environment=PREVIEW).fleet
    decision = deploy(fleet, 6, branch="main")

    assert queued(decision.fleet) == ["dep_3", "dep_4", "dep_5", "dep_6"]
    assert member(decision.fleet, 1).status is Status.STARTING
    assert (member(decision.fleet, 2).status, member(decision.fleet, 2).message) == (
        Status.SUPERSEDED,
        "Superseded by dep_6.",
    )
    assert decision.effects == ()
    assert actions(decision) == ["deployment.superseded", "deployment.created"]
    assert decision.transitions[0].detail == {"by": "dep_6"}


def test_deployments_without_a_branch_supersede_nothing() -> None:
    """Who names no branch wants each of them."""
    fleet = deploy(deploy(deploy(Fleet(), 1).fleet, 2).fleet, 3).fleet

    assert queued(fleet) == ["dep_2", "dep_3"]


def test_the_queue_has_an_end() -> None:
    """Too many waiting rollouts are refused; one that supersedes another still fits."""
    fleet = deploy(Fleet(), 1).fleet
    for number in range(2, rules.MOST_QUEUED + 2):
        fleet = deploy(fleet, number, branch=f"branch-{number}").fleet

    with pytest.raises(LifecycleError) as caught:
        deploy(fleet, 99)
    assert caught.value.code is Code.TOO_MANY_ROLLOUTS
    assert queued(deploy(fleet, 99, branch="branch-2").fleet)[-1] == "dep_99"


def test_cancel_of_one_that_waits_just_drops_it() -> None:
    """Nothing of it was started, so nothing is removed."""
    fleet = deploy(deploy(Fleet(), 1).fleet, 2).fleet
    decision = ask("cancel", fleet, 2, by=BOB)

    assert (decision.effects, queued(decision.fleet)) == ((), [])
    assert (member(decision.fleet, 2).status, member(decision.fleet, 2).message) == (
        Status.CANCELLED,
        "Cancelled by bob.",
    )
    assert (actions(decision), decision.transitions[0].actor) == (["deployment.cancelled"], BOB)


def test_cancel_of_one_that_rolls_stops_it_where_it_is() -> None:
    """The rollout is told; its instances go when it says that it starts nothing any more. The next one waits for it."""
    fleet = deploy(deploy(Fleet(), 1).fleet, 2).fleet
    decision = ask("cancel", fleet, 1)

    assert decision.effects == (Halt("dep_1"),)
    assert (decision.fleet.rolling, queued(decision.fleet)) == ("dep_1", ["dep_2"])

    ended = settle(decision.fleet, 1, Status.FAILED)
    assert (ended.effects[0], only(ended, Roll).spec.id) == (Rest("dep_1"), "dep_2")
    assert member(ended.fleet, 1).status is Status.CANCELLED


def test_cancel_after_the_routes_moved_moves_them_back() -> None:
    """What was live before is live again, and its standby ends."""
    decision = ask("cancel", finalizing(fleet_of(1), 2), 2)
    order = only(decision, Turn).switch

    assert decision.effects == (Halt("dep_2"), Keep("dep_1"), Turn(order))
    assert (order.deployment, order.expected, order.back_from, order.kinds) == ("dep_1", "dep_2", "dep_2", LIVE_KINDS)
    assert order.number == decision.fleet.switch == 3
    assert decision.fleet.live == {PRODUCTION: "dep_1"}


def test_cancel_of_the_first_one_takes_the_environment_off_the_air() -> None:
    """Where nothing was live before, nothing is afterwards."""
    decision = ask("cancel", finalizing(Fleet(), 1), 1)

    assert only(decision, Turn).switch.deployment is None
    assert decision.fleet.live == {}


def test_cancel_of_one_that_did_not_go_live_moves_only_its_own_domains() -> None:
    """While the environment is pinned, giving up a newer one leaves the live domains alone."""
    pinned = ask("rollback", fleet_of(2), 1).fleet
    decision = ask("cancel", finalizing(pinned, 3), 3)
    order = only(decision, Turn).switch

    assert (order.live, order.deployment, order.back_from, order.pinned) == (False, None, "dep_3", True)
    assert decision.fleet.live == {PRODUCTION: "dep_1"}


def test_cancel_of_one_that_is_not_live_any_more_leaves_what_is() -> None:
    """After a rollback in the last moment of a rollout, cancelling that one moves no live domain."""
    rolled_back = ask("rollback", finalizing(fleet_of(2), 3), 1).fleet
    decision = ask("cancel", rolled_back, 3)

    assert (only(decision, Turn).switch.live, only(decision, Turn).switch.deployment) == (False, None)
    assert decision.fleet.live == {PRODUCTION: "dep_1"}


def test_cancelling_twice_changes_nothing() -> None:
    """The second click gets the first answer."""
    fleet = ask("cancel", deploy(Fleet(), 1).fleet, 1).fleet

    assert ask("cancel", fleet, 1, by=BOB) == Decision(fleet)


def test_rollback_to_one_that_runs_is_decided_at_once() -> None:
    """The switch names what it replaces, and the environment is pinned."""
    decision = ask("rollback", fleet_of(2), 1)
    order = only(decision, Turn).switch

    assert (order.deployment, order.expected, order.kinds, order.pinned) == ("dep_1", "dep_2", LIVE_KINDS, True)
    assert without_keeps(decision.effects) == [Turn(order)]
    assert of_kind(decision, Keep) == [Keep("dep_1")]
    assert (decision.fleet.live, decision.fleet.pinned) == ({PRODUCTION: "dep_1"}, (PRODUCTION,))
    assert actions(decision) == ["deployment.rolled_back"]
    assert decision.transitions[0].detail["from"] == "dep_2"
    assert of_kind(confirm(decision.fleet, decision), Stand) == [Stand("dep_2")]


def test_rollback_to_one_that_is_stopped_wakes_it_first() -> None:
    """Nothing moves before the target is healthy; then it goes live and is pinned, in the name of who asked."""
    begun = ask("rollback", stopped(fleet_of(2), 1), 1, by=BOB)
    assert (rouse(begun), actions(begun)) == ("dep_1", ["deployment.rollback_begun"])
    assert (begun.fleet.live, begun.fleet.pinned) == ({PRODUCTION: "dep_2"}, ())

    done = woken(begun.fleet, 1)
    assert only(done, Turn).switch.deployment == "dep_1"
    assert (done.fleet.live, done.fleet.pinned) == ({PRODUCTION: "dep_1"}, (PRODUCTION,))
    assert actions(done) == ["deployment.woken", "deployment.rolled_back"]
    assert done.transitions[1].actor == BOB


def test_rollback_twice_starts_instances_once() -> None:
    """An impatient second click changes nothing."""
    fleet = ask("rollback", stopped(fleet_of(2), 1), 1).fleet

    assert ask("rollback", fleet, 1, by=BOB) == Decision(fleet)


def test_rollback_to_one_that_wakes_up_already_only_says_why() -> None:
    """Somebody woke it a moment ago: its instances are not started a second time, and then it goes live."""
    fleet = ask("wake", stopped(fleet_of(2), 1), 1).fleet
    decision = ask("rollback", fleet, 1, by=BOB)
    done = woken(decision.fleet, 1)

    assert (decision.effects, actions(decision)) == ((), ["deployment.rollback_begun"])
    assert done.fleet.live == {PRODUCTION: "dep_1"}
    assert {transition.actor for transition in done.transitions} == {BOB}


@pytest.mark.parametrize("action", ["rollback", "promote"])
def test_the_last_choice_counts(action: str) -> None:
    """Whoever chooses another deployment while a rollback waits for its target has changed the plan."""
    waiting = ask("rollback", stopped(fleet_of(3), 1), 1).fleet
    chosen = ask(action, waiting, 2).fleet
    later = woken(chosen, 1)

    assert later.fleet.live == {PRODUCTION: "dep_2"}
    assert without_keeps(later.effects) == [Stand("dep_1")]


def test_a_rollback_of_one_environment_leaves_that_of_another_alone() -> None:
    """Both wait for their targets, and both are carried out."""
    fleet = rolled_out(rolled_out(fleet_of(2), 3, environment=PREVIEW), 4, environment=PREVIEW)
    fleet = stopped(stopped(fleet, 1), 3)
    fleet = ask("rollback", ask("rollback", fleet, 3).fleet, 1).fleet
    fleet = woken(woken(fleet, 1).fleet, 3).fleet

    assert fleet.live == {PRODUCTION: "dep_1", PREVIEW: "dep_3"}
    assert set(fleet.pinned) == {PRODUCTION, PREVIEW}


def test_promote_makes_it_live_and_lifts_the_pin() -> None:
    """After a promote newer deployments go live again, and an ill one would go back to what was live before it."""
    pinned = ask("rollback", fleet_of(3), 1).fleet
    decision = ask("promote", pinned, 3)
    order = only(decision, Turn).switch

    assert (order.deployment, order.expected, order.pinned) == ("dep_3", "dep_1", False)
    assert (decision.fleet.live, decision.fleet.pinned) == ({PRODUCTION: "dep_3"}, ())
    assert actions(decision) == ["deployment.promoted"]
    assert member(decision.fleet, 3).replaced == "dep_1"
    assert of_kind(confirm(decision.fleet, decision), Stand) == [Stand("dep_1")]


def test_promote_of_the_pinned_one_only_lifts_the_pin() -> None:
    """Nothing moves; the next deployment goes live."""
    decision = ask("promote", ask("rollback", fleet_of(2), 1).fleet, 1)
    order = only(decision, Turn).switch

    assert (order.deployment, order.expected, order.pinned) == ("dep_1", "dep_1", False)
    assert (decision.fleet.live, decision.fleet.pinned) == ({PRODUCTION: "dep_1"}, ())
    assert confirm(decision.fleet, decision).effects == ()
    assert activate(deploy(decision.fleet, 3).fleet, 3).fleet.live == {PRODUCTION: "dep_3"}


def test_stop_ends_standby_and_removes_instances() -> None:
    """A stopped deployment can be woken or rolled back to later; stopping twice changes nothing."""
    decision = ask("stop", fleet_of(2), 1)
    one = member(decision.fleet, 1)

    assert decision.effects == (Keep("dep_1"), Rest("dep_1"))
    assert (one.status, one.running, actions(decision)) == (Status.STOPPED, False, ["deployment.stopped"])
    assert ask("stop", decision.fleet, 1) == Decision(decision.fleet)


def test_stop_during_a_rollout_spares_only_what_may_be_needed_again() -> None:
    """While the last step of a rollout goes on, what it replaced cannot be stopped; all the others can."""
    fleet = finalizing(fleet_of(2), 3)

    assert of_kind(ask("stop", fleet, 1), Rest) == [Rest("dep_1")]
    with pytest.raises(LifecycleError):
        ask("stop", fleet, 2)


def test_stop_of_one_that_wakes_up_wins() -> None:
    """The answer of instances that were still starting comes late, and says nothing any more."""
    waking = ask("rollback", stopped(fleet_of(2), 1), 1).fleet
    decision = ask("stop", waking, 1)
    assert of_kind(decision, Rest) == [Rest("dep_1")]

    assert woken(decision.fleet, 1) == Decision(decision.fleet)
    assert member(decision.fleet, 1).status is Status.STOPPED


def test_stop_of_one_that_rests_lets_it_rest() -> None:
    """What is stopped while a deletion is scheduled does not come back with the others."""
    resting = scheduled(fleet_of(2)).fleet
    fleet = ask("stop", resting, 1).fleet
    back = called_off(fleet)

    assert grace(fleet).resting == ("dep_2",)
    assert of_kind(back, Rouse) == [Rouse("dep_2", 1)]
    assert member(back.fleet, 1).status is Status.STOPPED


def test_wake_starts_it_into_standby() -> None:
    """A woken deployment runs and is stopped again when nobody wants it; waking twice changes nothing."""
    begun = ask("wake", stopped(fleet_of(2), 1), 1, by=BOB)
    assert (begun.effects, actions(begun)) == ((Rouse("dep_1", 1),), ["deployment.wake_begun"])
    assert ask("wake", begun.fleet, 1) == Decision(begun.fleet)

    done = woken(begun.fleet, 1)
    assert (done.effects, actions(done)) == ((Stand("dep_1"),), ["deployment.woken"])
    assert done.transitions[0].actor == BOB
    assert (member(done.fleet, 1).status, member(done.fleet, 1).running) == (Status.READY, True)


def test_deploying_works_again_as_soon_as_a_deletion_is_cancelled() -> None:
    """Nobody has to wait until everything is back, and the new deployment goes live."""
    fleet = activate(deploy(called_off(scheduled(fleet_of(2)).fleet).fleet, 3).fleet, 3).fleet

    assert fleet.live == {PRODUCTION: "dep_3"}
    assert member(fleet, 3).status is Status.FINALIZING


def test_only_what_nothing_needs_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of those that ended go; what is live, runs, wakes up or could be gone back to stays."""
    monkeypatch.setattr(rules, "REMEMBERED", 1)
    fleet = rolled_out(fleet_of(6), 7, branch="main")
    for number in (1, 2, 3, 4, 6):
        fleet = stopped(fleet, number)
    fleet = ask("wake", fleet, 2).fleet
    fleet = deploy(settle(deploy(fleet, 8).fleet, 8, Status.FAILED).fleet, 9).fleet

    # 2 wakes up, 5 runs, 6 was live before 7, which is; of 1, 3, 4 and 8 only the last one is remembered.
    assert [one.number for one in fleet.members] == [2, 5, 6, 7, 8, 9]
    assert deploy(fleet, 10).fleet.numbered == 10


def test_a_long_life_is_not_remembered_in_full() -> None:
    """However often a project is deployed, decisions stay as quick as they were."""
    fleet = Fleet()
    for number in range(1, rules.REMEMBERED + 20):
        fleet = rolled_out(fleet, number)
        fleet = stopped(fleet, number - 1) if number > 1 else fleet

    assert len(fleet.members) <= rules.REMEMBERED + 3


def test_the_domains_of_a_branch_follow_its_newest_deployment() -> None:
    """A deployment that is older than another one of its branch gets only its own domain and, if due, the live ones."""
    newest = activate(deploy(fleet_of(1, branch="main"), 2, branch="main").fleet, 2)
    before = fleet_of(2, branch="main").model_copy(update={"numbered": 0})
    older = activate(deploy(before, 9, branch="main").fleet, 9)

    assert only(newest, Turn).switch.kinds == (Kind.COMMIT, Kind.BRANCH, *LIVE_KINDS)
    assert only(older, Turn).switch.kinds == (Kind.COMMIT,)
    assert only(activate(deploy(Fleet(), 1).fleet, 1), Turn).switch.kinds == (Kind.COMMIT, *LIVE_KINDS)
