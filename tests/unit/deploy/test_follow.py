"""What a scheduled deletion does to the deployments of a project, and how a cancel brings everything back."""

import pytest

from lifecycle.deploy import events
from lifecycle.deploy.decision import Decision, Halt, Rest, Resume, Rouse, Stand, Suspend, Turn
from lifecycle.deploy.model import Fleet, Status
from tests.support.factories import DAY, NOW
from tests.support.fleets import (
    PRODUCTION,
    activate,
    ask,
    called_off,
    deploy,
    finalizing,
    fleet_of,
    grace,
    member,
    of_kind,
    only,
    retire,
    scheduled,
    settle,
    without_keeps,
    woken,
)


def running(fleet: Fleet) -> list[str]:
    """Which deployments run."""
    return [one.id for one in fleet.members if one.running]


def without_orders(fleet: Fleet) -> Fleet:
    """The fleet without what only counts."""
    return fleet.model_copy(update={"followed": 0, "roused": 0})


@pytest.mark.parametrize("suspend", [True, False])
@pytest.mark.parametrize("rest", [True, False])
def test_schedule_and_cancel_leave_everything_as_it_was(*, suspend: bool, rest: bool) -> None:
    """Hosts say that the project ends, or serve; instances rest, or run; after a cancel nothing of it is left."""
    before = ask("stop", ask("rollback", fleet_of(4), 2).fleet, 1).fleet
    decision = scheduled(before, suspend=suspend, rest=rest)
    assert of_kind(decision, Suspend) == ([Suspend(NOW + DAY)] if suspend else [])
    assert [one.deployment for one in of_kind(decision, Rest)] == (["dep_2", "dep_3", "dep_4"] if rest else [])
    assert running(decision.fleet) == ([] if rest else ["dep_2", "dep_3", "dep_4"])

    back = called_off(decision.fleet)
    assert [one.deployment for one in of_kind(back, Rouse)] == (["dep_2", "dep_3", "dep_4"] if rest else [])
    fleet, resumed = back.fleet, of_kind(back, Resume)
    for number in (3, 2, 4) if rest else ():
        assert resumed == []
        came = woken(fleet, number)
        fleet, resumed = came.fleet, of_kind(came, Resume)
    assert resumed == ([Resume()] if suspend else [])
    assert without_orders(fleet) == without_orders(before)


def test_what_stood_by_stands_by_again() -> None:
    """A deployment that nothing needs comes back with the others, and its countdown begins anew."""
    fleet = called_off(scheduled(fleet_of(2)).fleet).fleet

    assert of_kind(woken(fleet, 1), Stand) == [Stand("dep_1")]
    assert of_kind(woken(fleet, 2), Stand) == []


def test_a_standby_that_ends_meanwhile_ends() -> None:
    """What would have been stopped without the deletion does not come back after it."""
    fleet = retire(scheduled(fleet_of(2)).fleet, 1).fleet

    assert member(fleet, 1).status is Status.STOPPED
    assert of_kind(called_off(fleet), Rouse) == [Rouse("dep_2", 1)]


def test_rollouts_end_when_the_deletion_is_scheduled() -> None:
    """What waits and what rolls is cancelled; routes that moved already go back before anything rests."""
    fleet = deploy(finalizing(fleet_of(1), 2), 3).fleet
    decision = scheduled(fleet)

    assert [type(effect) for effect in without_keeps(decision.effects)] == [Halt, Turn, Suspend, Rest]
    assert only(decision, Rest).deployment == "dep_1"
    assert decision.fleet.live == {PRODUCTION: "dep_1"}
    assert [member(decision.fleet, number).status for number in (2, 3)] == [Status.CANCELLED, Status.CANCELLED]
    assert member(decision.fleet, 2).message == "The project is scheduled for deletion."


def test_moving_the_deletion_only_says_the_new_time() -> None:
    """What rests already is not stopped again."""
    fleet = scheduled(fleet_of(2)).fleet
    moved = scheduled(fleet)

    assert moved.effects == (Suspend(NOW + DAY),)
    assert grace(moved.fleet) == grace(fleet)


def test_older_news_of_the_deletion_is_ignored() -> None:
    """Messages that overtook each other do not bring back what is to rest, nor the other way round."""
    fleet = called_off(scheduled(fleet_of(1), generation=4).fleet, generation=5).fleet

    assert scheduled(fleet, generation=4) == Decision(fleet)
    assert called_off(fleet, generation=5) == Decision(fleet)


def test_a_cancel_of_nothing_changes_nothing() -> None:
    """A project that was never suspended has nothing to resume."""
    fleet = fleet_of(1)

    assert called_off(fleet).effects == ()
    assert without_orders(called_off(fleet).fleet) == without_orders(fleet)


def test_scheduling_again_while_coming_back_rests_again() -> None:
    """Those that were still waking up are not forgotten: the next cancel brings them back too."""
    fleet = woken(called_off(scheduled(fleet_of(2)).fleet).fleet, 1).fleet
    again = scheduled(fleet)
    assert {one.deployment for one in of_kind(again, Rest)} == {"dep_1", "dep_2"}
    assert set(grace(again.fleet).resting) == {"dep_1", "dep_2"}

    # The answer to the order before comes now, and does not count.
    assert woken(again.fleet, 2) == Decision(again.fleet)
    back = called_off(again.fleet).fleet
    assert set(grace(back).waking) == {"dep_1", "dep_2"}
    assert woken(woken(back, 1).fleet, 2).fleet.grace is None


def test_scheduling_again_with_instances_kept_lets_the_others_come_back() -> None:
    """When the second deletion is to leave instances running, those that wake up go on, and traffic stays suspended."""
    fleet = called_off(scheduled(fleet_of(2)).fleet).fleet
    again = scheduled(fleet, rest=False)
    assert of_kind(again, Rest) == []

    awake = woken(woken(again.fleet, 1).fleet, 2)
    assert (running(awake.fleet), of_kind(awake, Resume)) == (["dep_1", "dep_2"], [])
    assert called_off(awake.fleet).effects == (Resume(),)


def test_traffic_is_served_again_when_the_next_deletion_says_so() -> None:
    """A second schedule that serves traffic lifts the suspension of the first."""
    fleet = scheduled(fleet_of(1), rest=False).fleet

    assert scheduled(fleet, suspend=False, rest=False).effects == (Resume(),)


def test_a_rollback_that_waited_is_given_up() -> None:
    """Nothing moves in a project that is to be deleted: the target rests or wakes up, and does not go live."""
    waiting = ask("rollback", ask("stop", fleet_of(2), 1).fleet, 1).fleet

    resting = scheduled(waiting).fleet
    assert woken(resting, 1) == Decision(resting)
    assert member(resting, 1).status is Status.STOPPED

    kept = woken(scheduled(waiting, rest=False).fleet, 1)
    assert kept.fleet.live == {PRODUCTION: "dep_2"}
    assert of_kind(kept, Stand) == [Stand("dep_1")]


def test_what_cannot_be_started_again_holds_nobody_up() -> None:
    """Traffic follows after the last one, healthy or not; one that nothing needs is stopped then."""
    fleet = called_off(scheduled(fleet_of(2)).fleet).fleet
    ill = woken(woken(fleet, 2).fleet, 1, healthy=False)

    assert of_kind(ill, Resume) == [Resume()]
    assert (member(ill.fleet, 1).status, ill.fleet.grace) == (Status.STOPPED, None)


def test_what_is_live_and_cannot_be_started_stays_wanted() -> None:
    """Nothing else serves there, so its start is tried again for as long as it takes; people learn why."""
    fleet = called_off(scheduled(fleet_of(1)).fleet).fleet
    ill = woken(fleet, 1, healthy=False)
    one = member(ill.fleet, 1)

    assert of_kind(ill, Rest) == []
    assert (one.status, one.running, one.message) == (Status.READY, True, "It is ill.")
    assert ill.fleet.live == {PRODUCTION: "dep_1"}


def test_a_deployment_made_while_the_others_come_back_goes_live() -> None:
    """It does not wait for them; and when it fails, the one before it is live, as soon as it is back."""
    fleet = finalizing(called_off(scheduled(fleet_of(1)).fleet).fleet, 2)
    assert fleet.live == {PRODUCTION: "dep_2"}

    ready = settle(fleet, 2)
    assert of_kind(ready, Stand) == []
    assert of_kind(woken(ready.fleet, 1), Stand) == [Stand("dep_1")]

    failed = settle(fleet, 2, Status.FAILED).fleet
    assert failed.live == {PRODUCTION: "dep_1"}
    assert running(woken(failed, 1).fleet) == ["dep_1", "dep_2"]


def test_a_purge_forgets_the_suspension() -> None:
    """Nothing that ends after the purge has begun lets hosts serve again."""
    fleet = events.seal(called_off(scheduled(fleet_of(2)).fleet).fleet, NOW).fleet

    assert fleet.grace is None
    assert of_kind(retire(fleet, 1), Resume) == []
    assert scheduled(fleet) == Decision(fleet)


def test_a_rollout_that_was_ended_by_the_deletion_blocks_no_later_one() -> None:
    """Its end comes after the cancel; only then the next rollout begins."""
    fleet = called_off(scheduled(deploy(fleet_of(1), 2).fleet, rest=False).fleet).fleet
    waiting = deploy(fleet, 3).fleet
    assert (waiting.rolling, [spec.id for spec in waiting.queued]) == ("dep_2", ["dep_3"])

    ended = settle(waiting, 2, Status.FAILED).fleet
    assert activate(ended, 3).fleet.live == {PRODUCTION: "dep_3"}
