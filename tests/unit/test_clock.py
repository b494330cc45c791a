"""The clock: delays end at the wanted moment or just after it, never before."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle import clock
from tests.support.profiles import QUICK

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

_SECONDS = {"min_value": timedelta(seconds=-5), "max_value": timedelta(days=30)}


@QUICK
@given(st.timedeltas(**_SECONDS))
def test_a_wake_up_comes_in_the_first_whole_millisecond_that_is_not_too_early(rest: timedelta) -> None:
    """The engine counts whole milliseconds; what is promised for a moment is not asked for before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: NOW)
        delay = clock.until(NOW + rest)

    assert delay % MILLISECOND == timedelta(0)
    assert delay >= rest
    assert delay - max(rest, timedelta(0)) <= MILLISECOND


@pytest.mark.parametrize("rest", [-30 * timedelta(days=1), -MILLISECOND, timedelta(0), timedelta(microseconds=1)])
def test_a_delay_is_never_nothing(monkeypatch: pytest.MonkeyPatch, rest: timedelta) -> None:
    """What is late already is asked for as a delayed call like all others, and shortly."""
    monkeypatch.setattr(clock, "now", lambda: NOW)

    assert clock.until(NOW + rest) == MILLISECOND


def test_a_time_is_shown_in_utc_with_milliseconds() -> None:
    """Everybody reads the same time, wherever it was said."""
    there = datetime(2026, 11, 21, 10, 0, 0, 1999, tzinfo=UTC).astimezone()

    assert clock.rfc3339(there) == "2026-11-21T10:00:00.001Z"
