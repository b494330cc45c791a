"""The clock of one pending action, by example."""

from datetime import timedelta

import pytest

from lifecycle.scheduler.countdown import Countdown, Verdict
from tests.support.factories import DAY, HOUR, NOW

DUE = NOW + 3 * DAY
ARMED = Countdown().arm(due_at=DUE, wake_at=DUE - HOUR)


def test_each_arm_and_disarm_is_a_new_generation() -> None:
    """An old wake-up can never be taken for a new one: the number only grows."""
    moved = ARMED.arm(due_at=DUE + DAY, wake_at=DUE)

    assert [ARMED.generation, moved.generation, moved.disarm().generation] == [1, 2, 3]
    assert (moved.due_at, moved.wake_at) == (DUE + DAY, DUE)
    assert (moved.disarm().due_at, moved.disarm().wake_at) == (None, None)


def test_resting_and_waking_again_keep_generation_and_due_time() -> None:
    """What is blocked, or reminded, is still the same pending action, due at the same time."""
    assert ARMED.rest() == ARMED.model_copy(update={"wake_at": None})
    assert ARMED.wake_again(DUE) == ARMED.model_copy(update={"wake_at": DUE})


@pytest.mark.parametrize(
    ("countdown", "generation", "offset", "verdict"),
    [
        (ARMED, 1, timedelta(0), Verdict.DUE),
        (ARMED, 1, 30 * DAY, Verdict.DUE),
        (ARMED, 1, -timedelta(microseconds=1), Verdict.EARLY),
        (ARMED, 0, timedelta(0), Verdict.STALE),
        (ARMED, 2, timedelta(0), Verdict.STALE),
        (ARMED.rest(), 1, timedelta(0), Verdict.STALE),
        (ARMED.disarm(), 2, timedelta(0), Verdict.STALE),
        (Countdown(), 0, timedelta(0), Verdict.STALE),
    ],
)
def test_a_wakeup_is_judged_by_generation_then_by_time(
    countdown: Countdown, generation: int, offset: timedelta, verdict: Verdict
) -> None:
    """A wake-up counts only for what is armed now, and not before its time."""
    assert countdown.judge(generation, now=DUE - HOUR + offset) is verdict


def test_the_wakeup_is_asked_for_when_it_is_wanted() -> None:
    """Whenever it is asked for, before its time or after."""
    assert ARMED.next_wake(now=NOW) == DUE - HOUR
    assert ARMED.next_wake(now=DUE + DAY) == DUE - HOUR


def test_a_clock_that_runs_ahead_does_not_make_a_busy_loop() -> None:
    """When the engine keeps waking too early, the wait grows by the difference of the clocks."""
    once = ARMED.count_early()
    twice = once.count_early()
    early = DUE - HOUR - timedelta(seconds=2)

    assert once.next_wake(now=early) == DUE - HOUR
    assert twice.next_wake(now=early) == DUE - HOUR + timedelta(seconds=2)
    assert twice.wake_again(DUE - HOUR).next_wake(now=early) == DUE - HOUR


def test_nothing_armed_has_no_wakeup() -> None:
    """Asking when to wake for nothing is a mistake, and is not answered with a guess."""
    with pytest.raises(ValueError, match="nothing is armed"):
        ARMED.rest().next_wake(now=NOW)


def test_stale_wakeups_are_counted_for_ever() -> None:
    """How many old wake-ups came and did nothing stays visible, through every move and cancel."""
    counted = ARMED.count_stale().count_stale()

    assert counted == ARMED.model_copy(update={"stale_wakeups": 2})
    assert counted.disarm().arm(due_at=DUE, wake_at=DUE).stale_wakeups == 2
