"""What may happen to a deletion, and what follows, by example."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from lifecycle.errors import LifecycleError
from lifecycle.models import Role
from lifecycle.scheduler import deletion_rules as rules
from lifecycle.scheduler.deletion_rules import Authority, Decision
from lifecycle.scheduler.model import Compute, Deletion, Phase, Settle, Traffic
from tests.support.factories import (
    ADA,
    BOB,
    DAY,
    FRESH,
    HOUR,
    NOW,
    OLIVIA,
    PROTECTED,
    actor,
    blocked,
    cancel,
    configure,
    expedite,
    full_of_holds,
    held,
    hold,
    purging,
    release,
    reschedule,
    schedule,
    scheduled,
    wake,
    without_authority,
)

DUE = NOW + 3 * DAY


def test_schedule_promises_a_due_time_and_arms_a_wakeup() -> None:
    """The due time is fixed when it is asked for; the first wake-up is the reminder a day before."""
    decision = schedule(traffic=Traffic.SERVE, compute=Compute.STOP)
    deletion = decision.deletion

    assert deletion.phase is Phase.SCHEDULED
    assert (deletion.countdown.due_at, deletion.countdown.wake_at) == (DUE, DUE - DAY)
    assert decision.wake_at == DUE - DAY
    assert (deletion.generation, deletion.sequence, deletion.grace_seconds) == (1, 2, 3 * DAY.total_seconds())
    assert (deletion.requested_by, deletion.reason) == (ADA, "replaced")
    assert (deletion.traffic, deletion.compute) == (Traffic.SERVE, Compute.STOP)
    assert [reminder.at for reminder in deletion.reminders] == [DUE - DAY, DUE - HOUR]
    assert decision.transition is not None
    assert (decision.transition.action, decision.transition.actor) == ("deletion.scheduled", ADA)


@pytest.mark.parametrize("grace", [DAY, 30 * DAY])
def test_the_bounds_of_the_grace_are_allowed(grace: timedelta) -> None:
    """Exactly the shortest and exactly the longest grace are fine, as a length and as a moment."""
    assert schedule(grace_seconds=grace.total_seconds()).deletion.countdown.due_at == NOW + grace
    assert schedule(due_at=NOW + grace).deletion.countdown.due_at == NOW + grace


def test_reminders_that_would_be_past_are_left_out() -> None:
    """Nobody is reminded of the day before when there is less than a day."""
    assert [reminder.at for reminder in schedule(grace_seconds=86400).deletion.reminders] == [NOW + 23 * HOUR]


def test_a_second_schedule_changes_nothing() -> None:
    """Asking again returns the running deletion as it is, and leaves no trace."""
    deletion = scheduled()

    assert schedule(deletion, by=BOB, at=NOW + HOUR, grace_seconds=86400) == Decision(deletion)


def test_cancel_ends_it_and_cancelling_again_says_the_same() -> None:
    """A cancel is final; whoever cancels twice gets the first answer, by whichever ETag."""
    first = cancel(scheduled(), by=OLIVIA, at=NOW + HOUR)
    deletion = first.deletion
    outcome = deletion.cancellation

    assert (deletion.phase, deletion.generation, deletion.countdown.due_at) == (Phase.NONE, 2, None)
    assert outcome is not None
    assert (outcome.generation, outcome.cancelled_at, outcome.cancelled_by) == (1, NOW + HOUR, "olivia")
    assert first.transition is not None
    assert first.transition.action == "deletion.cancelled"
    for generation in (None, 1, 2):
        assert cancel(deletion, at=NOW + DAY, generation=generation) == Decision(deletion)


def test_cancel_then_schedule_works_at_once() -> None:
    """After a change of mind, and another one, a new deletion begins with a new fence and its own grace."""
    again = schedule(cancel(held()).deletion, at=NOW + HOUR, by=BOB).deletion

    assert (again.phase, again.generation, again.requested_by) == (Phase.SCHEDULED, 3, BOB)
    assert again.countdown.due_at == DUE + HOUR
    assert again.blocked_by == ("legal",)
    assert again.cancellation is None


def test_reschedule_moves_it_and_takes_over_responsibility() -> None:
    """Whoever moves a deletion answers for it: former requester, second administrator and blocks are gone."""
    lost = without_authority().model_copy(update={"expedited_by": BOB})
    moved = reschedule(lost, by=actor("carol"), at=DUE, due_at=DUE + 2 * DAY)
    deletion = moved.deletion

    assert (deletion.generation, deletion.countdown.due_at) == (2, DUE + 2 * DAY)
    assert (deletion.requested_by, deletion.expedited_by) == (actor("carol"), None)
    assert (deletion.blocked_by, deletion.grace_seconds) == ((), 2 * DAY.total_seconds())
    assert moved.wake_at == DUE + DAY
    assert moved.transition is not None
    assert moved.transition.detail == {
        "due_at": "2026-11-26T09:00:00.000Z",
        "former_due_at": "2026-11-24T09:00:00.000Z",
    }


def test_expedite_leaves_the_floor_and_never_postpones() -> None:
    """Delete now leaves the shortest notice; what is due sooner stays where it is."""
    soon = expedite(scheduled()).deletion
    sooner = expedite(scheduled(), at=DUE - HOUR / 2).deletion

    assert (soon.countdown.due_at, soon.expedited_by, soon.requested_by) == (NOW + HOUR, BOB, ADA)
    assert sooner.countdown.due_at == DUE


def test_reminders_go_out_one_by_one_and_the_deed_comes_last() -> None:
    """A day before, an hour before, and at the due time: three wake-ups, in this order."""
    first = wake(scheduled())
    second = wake(first.deletion)
    deed = wake(second.deletion)

    assert [one.transition.action for one in (first, second, deed) if one.transition] == [
        "deletion.reminded",
        "deletion.reminded",
        "deletion.started",
    ]
    assert [one.wake_at for one in (first, second, deed)] == [DUE - HOUR, DUE, None]
    assert [one.sent_at for one in second.deletion.reminders] == [DUE - DAY, DUE - HOUR]
    assert (deed.purge, deed.deletion.phase, deed.deletion.started_at) == (True, Phase.PURGING, DUE)


def test_only_the_wakeup_for_the_deed_asks_for_authority() -> None:
    """Whether the requester may still delete is looked up once, at the due time."""
    reminder = scheduled()
    deed = wake(wake(reminder).deletion).deletion

    assert not rules.wants_authority(reminder)
    assert rules.wants_authority(deed)
    assert not rules.wants_authority(purging())


def test_a_late_reminder_does_not_delete_without_asking() -> None:
    """When everything was down until after the due time, authority is still looked up first."""
    decision = wake(scheduled(), at=DUE + DAY)

    assert not decision.purge
    assert decision.transition is None
    assert rules.wants_authority(decision.deletion)
    assert decision.wake_at == DUE


@pytest.mark.parametrize("at", [NOW, DUE - DAY - timedelta(milliseconds=2)])
def test_an_early_wakeup_waits_for_the_rest(at: datetime) -> None:
    """A timer that fires too early does nothing but wait on."""
    decision = wake(scheduled(), at=at)

    assert decision.wake_at == DUE - DAY
    assert decision.transition is None
    assert decision.deletion.countdown.early_wakeups == 1


@pytest.mark.parametrize(
    ("deletion", "generation"),
    [
        (scheduled(), 0),
        (cancel(scheduled()).deletion, 1),
        (reschedule(scheduled()).deletion, 1),
        (purging(), 1),
        (blocked(), 1),
        (FRESH, 0),
    ],
)
def test_a_stale_wakeup_is_counted_and_does_nothing(deletion: Deletion, generation: int) -> None:
    """A wake-up of something that was cancelled, moved, blocked or begun changes nothing."""
    decision = wake(deletion, generation, at=DUE + DAY)
    counted = deletion.countdown.model_copy(update={"stale_wakeups": deletion.countdown.stale_wakeups + 1})

    assert decision == Decision(deletion.model_copy(update={"countdown": counted}))
    assert rules.is_stale(deletion, generation)


def test_a_hold_or_lost_authority_blocks_at_the_due_time() -> None:
    """A deletion that is stopped stays scheduled, says by what, and asks for no further wake-up."""
    for deletion, reasons in ((blocked(), ("legal",)), (without_authority(), ("authority",))):
        assert (deletion.phase, deletion.blocked_by) == (Phase.SCHEDULED, reasons)
        assert deletion.countdown.wake_at is None
        assert deletion.countdown.due_at == DUE


def test_unknown_authority_is_asked_again_soon() -> None:
    """While the database is down nothing is deleted and nothing is blocked; the question is repeated."""
    deed = wake(wake(scheduled()).deletion).deletion
    decision = wake(deed, authority=Authority.UNKNOWN)

    assert decision.wake_at == DUE + rules.AUTHORITY_RETRY
    assert decision.transition is None
    assert decision.deletion.countdown.due_at == DUE
    assert wake(decision.deletion).purge


def test_releasing_the_last_hold_after_the_due_time_gives_fresh_notice() -> None:
    """Nothing is deleted in the moment in which a hold is released."""
    decision = release(blocked(), at=DUE + HOUR)

    assert decision.deletion.countdown.due_at == DUE + HOUR + DAY
    assert decision.deletion.generation == 2
    assert decision.wake_at == DUE + HOUR + 23 * HOUR


def test_releasing_a_hold_before_the_due_time_changes_no_time() -> None:
    """The countdown went on meanwhile."""
    decision = release(held(), at=NOW + HOUR)

    assert decision.deletion.countdown == held().countdown
    assert decision.wake_at is None


def test_releasing_one_of_two_holds_leaves_it_blocked() -> None:
    """Each hold has its own reason, and each must be released."""
    twice = hold(blocked(), "audit").deletion
    decision = release(twice, "audit", at=DUE + HOUR)

    assert decision.deletion.blocked_by == ("legal",)
    assert decision.wake_at is None


def test_a_release_by_a_slow_clock_after_the_block_arms_again() -> None:
    """A worker's clock ahead of the API's blocked it early; the release still leads to a new wake-up."""
    decision = release(blocked(), at=DUE - timedelta(seconds=2))

    assert decision.wake_at is not None
    assert decision.deletion.countdown.due_at == DUE - timedelta(seconds=2) + DAY


def test_a_hold_can_be_placed_without_a_deletion_and_replaced() -> None:
    """A project can be held before anybody schedules; the same name again only changes the reason."""
    once = hold(FRESH).deletion
    twice = hold(once, by=OLIVIA, at=NOW + HOUR).deletion

    assert (once.phase, once.generation) == (Phase.NONE, 0)
    assert [(one.name, one.placed_by) for one in twice.holds] == [("legal", "olivia")]
    assert schedule(twice).deletion.blocked_by == ("legal",)
    assert hold(full_of_holds(), "hold-0").deletion.holds[-1].name == "hold-0"


def test_only_the_purge_of_this_generation_settles_it() -> None:
    """An answer of another purge, or a second answer, changes nothing."""
    deletion = purging()
    done = rules.settle(deletion, Settle(generation=1, deleted_at=DUE + HOUR))

    assert (done.deletion.phase, done.deletion.deleted_at) == (Phase.DELETED, DUE + HOUR)
    assert rules.settle(deletion, Settle(generation=2, deleted_at=DUE)) == Decision(deletion)
    assert rules.settle(scheduled(), Settle(generation=1, deleted_at=DUE)) == Decision(scheduled())
    assert rules.settle(done.deletion, Settle(generation=1, deleted_at=DUE)) == Decision(done.deletion)


def test_a_purge_that_was_ended_by_hand_begins_again() -> None:
    """A purge that somebody killed in the engine is begun again, each time as another attempt; no other one is."""
    deletion = purging()
    resumed = rules.resume_purge(deletion, 1, now=DUE + HOUR)

    assert resumed.purge
    assert resumed.deletion.phase is Phase.PURGING
    assert (deletion.purge_attempt, resumed.deletion.purge_attempt) == (1, 2)
    assert (resumed.deletion.started_at, resumed.deletion.generation) == (deletion.started_at, 1)
    for other, generation in ((deletion, 2), (scheduled(), 1), (FRESH, 0)):
        assert rules.resume_purge(other, generation, now=DUE) == Decision(other)


def test_a_deleted_project_stays_deleted() -> None:
    """What is gone is not scheduled, cancelled or woken again."""
    deleted = rules.settle(purging(), Settle(generation=1, deleted_at=DUE)).deletion

    assert not wake(deleted, at=DUE + DAY).purge
    assert not rules.resume_purge(deleted, 1, now=DUE + DAY).purge
    with pytest.raises(LifecycleError, match="cannot be undone"):
        cancel(deleted)


def test_configure_changes_only_what_was_named() -> None:
    """A new name leaves the protection as it is, and the other way round."""
    named = configure(by=OLIVIA, name="New")
    opened = configure(by=ADA, protected=False)

    assert (named.name, named.protected) == ("New", True)
    assert (opened.name, opened.protected) == (PROTECTED.name, False)
    assert not configure(scheduled(), protected=False).protected


def test_each_transition_has_a_number_of_its_own() -> None:
    """The audit log can tell a repetition from something new."""
    steps = [schedule(), hold(scheduled()), cancel(scheduled())]

    assert [step.deletion.sequence for step in steps] == [2, 3, 3]
    assert wake(scheduled(), 0).deletion.sequence == 2


def test_times_with_an_offset_are_the_same_moments() -> None:
    """A due time is a moment; in which zone somebody wrote it does not matter."""
    berlin = timezone(timedelta(hours=1))

    assert schedule(due_at=DUE.astimezone(berlin)).deletion.countdown.due_at == DUE.astimezone(UTC)


@pytest.mark.parametrize("role", Role)
def test_each_role_includes_the_lesser_ones(role: Role) -> None:
    """An administrator may do all that an operator may, and an operator all that a viewer may."""
    assert [role.includes(other) for other in Role] == [
        list(Role).index(other) <= list(Role).index(role) for other in Role
    ]
