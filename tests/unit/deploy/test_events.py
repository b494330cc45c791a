"""What happens to deployments by itself, and what follows, by example."""

import pytest

from lifecycle.deploy import events
from lifecycle.deploy.decision import Decision, Halt, Keep, Rest, Roll, Rouse, Stand, Tell, Turn
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import LIVE_KINDS, Activation, Fleet, Status
from tests.support.factories import NOW
from tests.support.fleets import (
    PREVIEW,
    PRODUCTION,
    actions,
    activate,
    ask,
    confirm,
    deploy,
    finalizing,
    fleet_of,
    member,
    of_kind,
    only,
    retire,
    rolled_out,
    settle,
    without_keeps,
    woken,
)

LIVE = Activation(accepted=True, live=True)
REFUSED = Activation(accepted=False)


def stopped(fleet: Fleet, number: int) -> Fleet:
    """The fleet after somebody stopped one deployment."""
    return ask("stop", fleet, number).fleet


def test_activate_moves_its_own_and_the_live_domains() -> None:
    """A rollout whose instances are ready goes live; its rollout hears of it when the gateway has confirmed."""
    decision = activate(deploy(fleet_of(1), 2, branch="main").fleet, 2)
    order = only(decision, Turn).switch
    two = member(decision.fleet, 2)

    assert (two.status, two.replaced) == (Status.FINALIZING, "dep_1")
    assert (order.deployment, order.expected, order.pinned) == ("dep_2", "dep_1", False)
    assert (order.kinds, order.tells_rollout) == ((Kind.COMMIT, Kind.BRANCH, *LIVE_KINDS), True)
    assert decision.fleet.live == {PRODUCTION: "dep_2"}
    assert of_kind(decision, Tell) == []
    assert confirm(decision.fleet, decision).effects == (Tell("dep_2", LIVE),)


def test_activate_while_pinned_takes_only_its_own_domains() -> None:
    """A rollback keeps what is live; the newer deployment is ready, says why it is not live, and can be promoted."""
    decision = activate(deploy(ask("rollback", fleet_of(2), 1).fleet, 3).fleet, 3)
    order = only(decision, Turn).switch
    told = only(confirm(decision.fleet, decision), Tell).activation

    assert (order.kinds, order.pinned, order.live) == ((Kind.COMMIT,), True, False)
    assert decision.fleet.live == {PRODUCTION: "dep_1"}
    assert member(decision.fleet, 3).replaced is None
    assert (told.accepted, told.live) == (True, False)
    assert "pinned" in told.reason

    ready = settle(decision.fleet, 3).fleet
    assert ask("promote", ready, 3).fleet.live == {PRODUCTION: "dep_3"}


def test_activate_of_one_that_was_overtaken_leaves_the_newer_one_live() -> None:
    """Whichever rollout ends last, the newest deployment is live."""
    fleet = fleet_of(2).model_copy(update={"numbered": 0})
    decision = activate(deploy(fleet, 9).fleet, 9)

    assert only(decision, Turn).switch.kinds == (Kind.COMMIT,)
    assert decision.fleet.live == {PRODUCTION: "dep_2"}
    assert "newer" in only(confirm(decision.fleet, decision), Tell).activation.reason


def test_activate_twice_orders_once() -> None:
    """A repeated request changes nothing; the answer to the first one is on its way."""
    fleet = activate(deploy(Fleet(), 1).fleet, 1).fleet

    assert activate(fleet, 1) == Decision(fleet)


@pytest.mark.parametrize("number", [2, 9])
def test_activate_of_one_that_is_not_wanted_is_refused(number: int) -> None:
    """A cancelled deployment, or one that nobody knows, moves nothing, and its rollout is told."""
    fleet = ask("cancel", deploy(fleet_of(1), 2).fleet, 2).fleet

    assert activate(fleet, number) == Decision(fleet, (Tell(f"dep_{number}", REFUSED),))


def test_switched_puts_what_was_replaced_into_standby_when_nothing_can_fail_any_more() -> None:
    """Until the new one is ready the old one may be needed; then its countdown to the stop begins."""
    activated = activate(deploy(fleet_of(1), 2).fleet, 2)
    confirmed = confirm(activated.fleet, activated)
    assert of_kind(confirmed, Stand) == []

    assert of_kind(settle(confirmed.fleet, 2), Stand) == [Stand("dep_1")]


def test_switched_late_looks_at_what_is_live_now() -> None:
    """A confirmation that was overtaken by a rollback puts nothing that is live again into standby."""
    promoted = ask("promote", ask("rollback", fleet_of(2), 1).fleet, 2)
    back = ask("rollback", promoted.fleet, 1)

    assert confirm(back.fleet, promoted) == Decision(back.fleet)
    assert confirm(back.fleet, back).effects == (Stand("dep_2"),)


def test_switched_tells_a_cancelled_rollout_the_truth() -> None:
    """When the rollout was cancelled while the gateway was busy, it is not told that it is live."""
    activated = activate(deploy(fleet_of(1), 2).fleet, 2)
    cancelled = ask("cancel", activated.fleet, 2)

    assert only(confirm(cancelled.fleet, activated), Tell).activation == REFUSED


def test_switched_removes_what_failed_after_its_routes_are_gone() -> None:
    """Instances are removed when no host leads to them any more, never before."""
    failed = settle(finalizing(fleet_of(1), 2), 2, Status.FAILED)
    assert without_keeps(failed.effects) == [only(failed, Turn)]

    confirmed = confirm(failed.fleet, failed)
    assert confirmed.effects == (Rest("dep_2"),)
    assert not member(confirmed.fleet, 2).running


def test_settle_ready_ends_the_rollout() -> None:
    """The deployment is ready, what it replaced goes to standby, and the next rollout begins."""
    fleet = deploy(finalizing(fleet_of(1), 2), 3).fleet
    decision = settle(fleet, 2)

    assert (member(decision.fleet, 2).status, actions(decision)) == (Status.READY, ["deployment.ready"])
    assert of_kind(decision, Stand) == [Stand("dep_1")]
    assert only(decision, Roll).spec.id == "dep_3"


def test_settle_ready_relieves_the_former_one_of_the_branch() -> None:
    """In a preview the newest of a branch runs; the one before it goes to standby."""
    fleet = rolled_out(fleet_of(1), 2, environment=PREVIEW, branch="x")
    fleet = rolled_out(fleet, 3, environment=PREVIEW, branch="y")
    fleet = deploy(fleet, 4, environment=PREVIEW, branch="x").fleet
    activated = activate(fleet, 4)
    decision = settle(confirm(activated.fleet, activated).fleet, 4)

    # The newest one of branch y goes on running although it is not live any more: its own domain is there.
    assert of_kind(decision, Stand) == [Stand("dep_2")]


def test_settle_ready_of_one_that_serves_nothing_puts_it_into_standby() -> None:
    """Without a branch, and while the environment is pinned, a new deployment runs only for a while."""
    fleet = finalizing(ask("rollback", fleet_of(2), 1).fleet, 3)

    assert of_kind(settle(fleet, 3), Stand) == [Stand("dep_3")]


def test_an_older_one_of_a_branch_serves_nothing_however_the_newest_is() -> None:
    """The domain of the branch stays with its newest deployment, also while that one is stopped or not ready yet."""
    both_stopped = stopped(stopped(rolled_out(fleet_of(2, branch="main"), 3), 1), 2)
    assert of_kind(woken(ask("wake", both_stopped, 1).fleet, 1), Stand) == [Stand("dep_1")]

    pinned = ask("rollback", rolled_out(fleet_of(1, branch="main"), 2), 1).fleet
    promoted = ask("promote", finalizing(pinned, 3, branch="main"), 2)
    assert of_kind(confirm(promoted.fleet, promoted), Stand) == [Stand("dep_1")]


def test_settle_failed_removes_what_was_started() -> None:
    """The user learns why, the instances go, and the next rollout begins."""
    fleet = deploy(deploy(fleet_of(1), 2).fleet, 3).fleet
    decision = settle(fleet, 2, Status.FAILED)
    two = member(decision.fleet, 2)

    assert (two.status, two.message, two.running) == (Status.FAILED, "It is ill.", False)
    assert (decision.effects[0], only(decision, Roll).spec.id) == (Rest("dep_2"), "dep_3")
    assert (actions(decision), decision.transitions[0].detail) == (["deployment.failed"], {"message": "It is ill."})
    assert decision.fleet.live == {PRODUCTION: "dep_1"}


def test_settle_failed_after_the_routes_moved_moves_them_back() -> None:
    """A deployment that fails in its last step gives the domains back to what was live."""
    decision = settle(finalizing(fleet_of(1), 2), 2, Status.FAILED)
    order = only(decision, Turn).switch

    assert (order.deployment, order.back_from, order.expected) == ("dep_1", "dep_2", "dep_2")
    assert decision.fleet.live == {PRODUCTION: "dep_1"}
    assert of_kind(decision, Keep) == [Keep("dep_1")]


@pytest.mark.parametrize("status", [Status.READY, Status.FAILED])
def test_settle_after_a_cancel_only_removes(status: Status) -> None:
    """However a cancelled rollout ends, it stays cancelled; its instances go and the next rollout begins."""
    fleet = deploy(ask("cancel", deploy(fleet_of(1), 2).fleet, 2).fleet, 3).fleet
    decision = settle(fleet, 2, status)

    assert member(decision.fleet, 2).status is Status.CANCELLED
    assert (decision.effects[0], only(decision, Roll).spec.id) == (Rest("dep_2"), "dep_3")
    assert actions(decision) == []


@pytest.mark.parametrize("status", [Status.READY, Status.FAILED])
@pytest.mark.parametrize("number", [1, 2])
def test_settle_twice_says_nothing_new(status: Status, number: int) -> None:
    """A late or repeated report of a rollout that went well never touches what serves, nor what was stopped."""
    fleet = stopped(fleet_of(2), 1)

    assert settle(fleet, number, status) == Decision(fleet)
    assert settle(fleet, 9, status) == Decision(fleet)


def test_a_rollback_during_a_rollout_keeps_everything_in_order() -> None:
    """The new one was live for a moment: it ends as ready and stands by, and so does what it had replaced."""
    fleet = finalizing(rolled_out(rolled_out(Fleet(), 1), 2), 3)
    back = ask("rollback", fleet, 1)
    confirmed = confirm(back.fleet, back)
    assert confirmed.effects == ()

    decision = settle(confirmed.fleet, 3)
    assert decision.fleet.live == {PRODUCTION: "dep_1"}
    assert {one.deployment for one in of_kind(decision, Stand)} == {"dep_2", "dep_3"}


def test_a_watch_that_gives_up_rolls_back() -> None:
    """An ill deployment is replaced by the one before it, and the environment is pinned there."""
    decision = settle(fleet_of(2), 2, Status.FAILED, watched=True)

    assert (decision.fleet.live, decision.fleet.pinned) == ({PRODUCTION: "dep_1"}, (PRODUCTION,))
    assert (member(decision.fleet, 2).status, member(decision.fleet, 2).message) == (Status.READY, "It is ill.")
    assert (actions(decision), decision.transitions[0].actor) == (["deployment.rolled_back"], None)
    assert decision.transitions[0].detail == {"from": "dep_2", "message": "It is ill."}


def test_a_watch_that_gives_up_wakes_what_it_needs() -> None:
    """When the one before was stopped already, it is woken, and goes live when it is healthy."""
    begun = settle(stopped(fleet_of(2), 1), 2, Status.FAILED, watched=True)
    assert (begun.effects, actions(begun)) == ((Rouse("dep_1", 1),), ["deployment.rollback_begun"])

    done = woken(begun.fleet, 1)
    assert (done.fleet.live, done.fleet.pinned) == ({PRODUCTION: "dep_1"}, (PRODUCTION,))


def test_a_newer_deployment_makes_an_automatic_rollback_superfluous() -> None:
    """The ill one is not live any more when its predecessor is awake; nothing is rolled back then."""
    begun = settle(stopped(fleet_of(2), 1), 2, Status.FAILED, watched=True).fleet
    fleet = rolled_out(begun, 3)

    assert woken(fleet, 1).fleet.live == {PRODUCTION: "dep_3"}


def test_an_automatic_rollback_that_somebody_asks_for_is_theirs() -> None:
    """Whoever asks for what begins by itself gets it, whatever goes live meanwhile."""
    begun = settle(stopped(fleet_of(2), 1), 2, Status.FAILED, watched=True).fleet
    fleet = rolled_out(ask("rollback", begun, 1).fleet, 3)

    assert woken(fleet, 1).fleet.live == {PRODUCTION: "dep_1"}


def test_a_rollback_that_somebody_asked_for_survives_a_newer_deployment() -> None:
    """What goes live while the target wakes up is live for a moment only; people get what they asked for."""
    fleet = rolled_out(ask("rollback", stopped(fleet_of(2), 1), 1).fleet, 3)
    assert fleet.live == {PRODUCTION: "dep_3"}

    assert woken(fleet, 1).fleet.live == {PRODUCTION: "dep_1"}


def test_a_watch_minds_only_rollbacks_of_its_own_environment() -> None:
    """Neither a wake without a purpose nor a rollback elsewhere keeps an ill deployment live."""
    elsewhere = rolled_out(rolled_out(fleet_of(3), 4, environment=PREVIEW), 5, environment=PREVIEW)
    fleet = ask("rollback", stopped(elsewhere, 4), 4).fleet
    fleet = ask("wake", stopped(fleet, 1), 1).fleet

    assert settle(fleet, 3, Status.FAILED, watched=True).fleet.live[PRODUCTION] == "dep_2"


@pytest.mark.parametrize(
    "fleet",
    [
        fleet_of(1),
        fleet_of(3),
        ask("rollback", fleet_of(3), 2).fleet,
        ask("rollback", stopped(rolled_out(rolled_out(rolled_out(Fleet(), 1), 3), 2), 1), 1).fleet,
        events.seal(fleet_of(2), NOW).fleet,
    ],
    ids=["nothing before it", "not live any more", "pinned", "being rolled back", "sealed"],
)
def test_a_watch_leaves_alone_what_people_decided(fleet: Fleet) -> None:
    """Where there is nothing to go back to, or somebody has decided, an ill deployment changes nothing."""
    number = 1 if len(fleet.members) == 1 else 2

    assert settle(fleet, number, Status.FAILED, watched=True) == Decision(fleet)


def test_woken_ill_stays_stopped_and_is_cleaned_up() -> None:
    """A rollback whose target cannot be started changes nothing that is live; the user learns why."""
    fleet = ask("rollback", stopped(fleet_of(2), 1), 1).fleet
    decision = woken(fleet, 1, healthy=False)
    one = member(decision.fleet, 1)

    assert (one.status, one.running, one.waking, one.message) == (Status.STOPPED, False, None, "It is ill.")
    assert (decision.effects, actions(decision)) == ((Rest("dep_1"),), ["deployment.wake_failed"])
    assert (decision.fleet.live, decision.fleet.pinned) == ({PRODUCTION: "dep_2"}, ())


def test_woken_by_an_older_order_says_nothing() -> None:
    """Stopped and woken again: only the answer to the last order counts, for the first instances are going."""
    fleet = ask("wake", stopped(fleet_of(2), 1), 1).fleet
    fleet = ask("rollback", ask("stop", fleet, 1).fleet, 1).fleet

    assert woken(fleet, 1, order=1) == Decision(fleet)
    assert woken(fleet, 1, order=2).fleet.live == {PRODUCTION: "dep_1"}


def test_woken_without_a_number_is_an_answer_of_the_former_release() -> None:
    """An answer that does not say to which order is taken for the present one."""
    fleet = ask("wake", stopped(fleet_of(2), 1), 1).fleet

    assert member(woken(fleet, 1, order=0).fleet, 1).status is Status.READY


def test_woken_in_a_project_that_is_purged_goes_again() -> None:
    """Nothing starts behind the back of a purge."""
    fleet = events.seal(ask("wake", stopped(fleet_of(2), 1), 1).fleet, NOW).fleet

    assert woken(fleet, 1) == Decision(fleet, (Rest("dep_1"),))


def test_retire_stops_what_stands_by() -> None:
    """When the standby is over the instances go; the deployment can be woken later."""
    decision = retire(fleet_of(2), 1)

    assert decision.effects == (Keep("dep_1"), Rest("dep_1"))
    assert (member(decision.fleet, 1).status, actions(decision)) == (Status.STOPPED, ["deployment.stopped"])
    assert decision.transitions[0].actor is None


@pytest.mark.parametrize(
    ("fleet", "number"),
    [
        (fleet_of(2), 2),
        (fleet_of(2), 9),
        (stopped(fleet_of(2), 1), 1),
        (finalizing(fleet_of(1), 2), 1),
        (finalizing(fleet_of(1), 2), 2),
        (ask("rollback", stopped(fleet_of(2), 1), 1).fleet, 1),
    ],
    ids=["live", "unknown", "stopped", "may be needed again", "rolling", "waits for its rollback"],
)
def test_retire_too_late_changes_nothing(fleet: Fleet, number: int) -> None:
    """A countdown that ends after the deployment was wanted again stops nothing."""
    assert retire(fleet, number) == Decision(fleet)


def test_seal_ends_every_rollout_for_good() -> None:
    """The purge begins: what waits and what rolls is cancelled, nothing is taken any more; twice is once."""
    fleet = deploy(deploy(fleet_of(1), 2).fleet, 3).fleet
    decision = events.seal(fleet, NOW)

    assert decision.effects == (Halt("dep_2"), Keep("dep_1"), Keep("dep_2"))
    assert [member(decision.fleet, number).status for number in (2, 3)] == [Status.CANCELLED, Status.CANCELLED]
    assert (decision.fleet.sealed, decision.fleet.rolling, decision.fleet.queued) == (True, "dep_2", ())
    assert events.seal(decision.fleet, NOW) == Decision(decision.fleet)
    assert settle(decision.fleet, 2, Status.FAILED).fleet.rolling is None
