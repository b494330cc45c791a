"""Bugs of the platform that came before, each found by reading it, and each impossible here.

The docstrings tell what happened there; numbers are those of the reference map, section 10. Bug 5 (a switch in several
transactions) is shown on a real database, 10 and 11 belong to certificates, 12 to deletions, 13 to domains.
"""

from datetime import timedelta

import pytest

from lifecycle.deploy import entries
from lifecycle.deploy.decision import Decision, Keep, Rest, Stand, Turn
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import Status
from lifecycle.errors import LifecycleError
from lifecycle.scheduler.countdown import Countdown, Verdict
from tests.support.factories import NOW
from tests.support.fleets import (
    PRODUCTION,
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
    woken,
)


def without_stops(decision: Decision) -> bool:
    """Whether nothing is stopped, now or later."""
    return not of_kind(decision, Rest) and not of_kind(decision, Stand)


def test_0_the_pin_covers_generated_domains() -> None:
    """After a rollback the next deployment took the generated live and environment domains, custom ones stayed.

    So half of the traffic went to the new deployment, which nobody had made live.
    """
    pinned = ask("rollback", fleet_of(2, branch="main"), 1).fleet
    order = only(activate(deploy(pinned, 3, branch="main").fleet, 3), Turn).switch

    assert order.kinds == (Kind.COMMIT, Kind.BRANCH)
    assert not any(kind.follows_live for kind in order.kinds)


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
def test_1_a_failure_after_the_switch_takes_nothing_off_the_air(ends: str) -> None:
    """A deployment that failed or was cancelled in its last step was stopped, and its routes were left on it.

    The live domain led to a stopped deployment.
    """
    fleet = finalizing(fleet_of(1), 2)
    decision = settle(fleet, 2, Status.FAILED) if ends == "fails" else ask("cancel", fleet, 2)

    assert (only(decision, Turn).switch.deployment, only(decision, Turn).switch.back_from) == ("dep_1", "dep_2")
    assert of_kind(decision, Rest) == []
    assert decision.fleet.live == {PRODUCTION: "dep_1"}


def test_1_what_may_be_needed_again_is_not_stopped() -> None:
    """While the last step of a rollout took long, what it had replaced was stopped; then there was no way back."""
    fleet = finalizing(fleet_of(1), 2)

    assert retire(fleet, 1) == Decision(fleet)
    with pytest.raises(LifecycleError):
        ask("stop", fleet, 1)


def test_2_a_rollback_during_a_build_is_not_overwritten() -> None:
    """The pin was read when a rollout began. A rollback during the build was overwritten, its target stopped later."""
    building = deploy(fleet_of(2), 3).fleet
    activated = activate(ask("rollback", building, 1).fleet, 3)
    fleet = settle(confirm(activated.fleet, activated).fleet, 3).fleet

    assert (fleet.live, fleet.pinned) == ({PRODUCTION: "dep_1"}, (PRODUCTION,))
    assert retire(fleet, 1) == Decision(fleet)


def test_3_an_older_build_that_ends_last_does_not_win() -> None:
    """Whichever rollout ended last was live, even when it was older than what it replaced."""
    older = deploy(fleet_of(3).model_copy(update={"numbered": 0}), 9).fleet

    assert activate(older, 9).fleet.live == {PRODUCTION: "dep_3"}


def test_4_promote_and_rollback_know_of_each_other() -> None:
    """They ran on different keys, each with its own idea of what is live; the routes ended somewhere in between."""
    promoted = ask("promote", ask("rollback", fleet_of(3), 1).fleet, 2)
    back = ask("rollback", promoted.fleet, 1)
    first, second = only(promoted, Turn).switch, only(back, Turn).switch

    assert (first.expected, second.expected) == ("dep_1", first.deployment)
    assert first.number < second.number
    assert confirm(back.fleet, promoted).fleet.live == {PRODUCTION: "dep_1"}


def test_6_a_deployment_that_is_replaced_twice_is_stopped_twice() -> None:
    """The second stop of the same deployment within a day was taken for a repetition, so it ran for ever."""
    stops = []
    fleet = fleet_of(2)
    for _ in range(2):
        fleet = ask("promote", ask("rollback", fleet, 1).fleet, 2).fleet
        again = ask("rollback", fleet, 1)
        stops += of_kind(confirm(again.fleet, again), Stand)
        fleet = ask("promote", again.fleet, 2).fleet

    assert stops == [Stand("dep_2"), Stand("dep_2")]


def test_7_a_countdown_that_came_too_late_does_not_block_the_next_one() -> None:
    """A stop that was refused, because the deployment was live again, left its mark; later stops did nothing."""
    live_again = ask("rollback", fleet_of(2), 1)
    assert of_kind(live_again, Keep) == [Keep("dep_1")]
    refused = retire(live_again.fleet, 1)
    replaced = ask("promote", refused.fleet, 2)
    assert of_kind(confirm(replaced.fleet, replaced), Stand) == [Stand("dep_1")]

    later = NOW + timedelta(minutes=30)
    countdown = Countdown().arm(due_at=NOW, wake_at=NOW).disarm().arm(due_at=later, wake_at=later)
    assert countdown.judge(1, now=later) is Verdict.STALE
    assert countdown.judge(countdown.generation, now=later) is Verdict.DUE


def test_8_a_cancelled_deployment_never_becomes_ready() -> None:
    """A rollout that was cancelled in its last moment wrote `ready` over `cancelled`."""
    fleet = ask("cancel", finalizing(fleet_of(1), 2), 2).fleet

    assert member(settle(fleet, 2).fleet, 2).status is Status.CANCELLED
    assert activate(fleet, 2).fleet == fleet


def test_9_lifting_the_pin_needs_nothing_else() -> None:
    """Confirming a rollback looked for some other deployment to stop, and failed after the fact when there was none."""
    fleet = ask("rollback", fleet_of(2), 1).fleet
    alone = fleet.model_copy(update={"members": tuple(one for one in fleet.members if one.id == "dep_1")})
    decision = ask("promote", alone, 1)

    assert decision.fleet.pinned == ()
    assert without_stops(confirm(decision.fleet, decision))


def test_9_confirming_a_rollback_stops_no_deployment_made_meanwhile() -> None:
    """It stopped the newest ready deployment, which may have been made while pinned and was never rolled back from."""
    fleet = rolled_out(ask("rollback", fleet_of(2), 1).fleet, 3, branch="main")
    decision = ask("promote", fleet, 1)

    assert without_stops(decision)
    assert without_stops(confirm(decision.fleet, decision))


def test_14_a_repeated_record_is_the_same_record() -> None:
    """An audit entry that was written again after a lost answer was there twice."""
    fleet = fleet_of(2)
    decision = ask("rollback", fleet, 1)
    after = decision.fleet.model_copy(update={"sequence": fleet.sequence + len(decision.transitions)})

    first = list(entries.entries("prj_1", fleet, after, decision.transitions))
    assert first == list(entries.entries("prj_1", fleet, after, decision.transitions))
    assert [entry.id for entry in first] == [f"prj_1.d{fleet.sequence + 1}"]


def test_15_a_rollback_works_after_the_standby() -> None:
    """Half an hour after a deployment its predecessor was stopped, and could be neither woken nor rolled back to."""
    stopped = retire(fleet_of(2), 1).fleet
    fleet = woken(ask("rollback", stopped, 1).fleet, 1).fleet

    assert (fleet.live, fleet.pinned) == ({PRODUCTION: "dep_1"}, (PRODUCTION,))
