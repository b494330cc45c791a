"""How the command line waits for a deletion."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lifecycle.cli import purges

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


def deletion(phase: str = "scheduled", *, rest: timedelta | None = None, generation: int = 1) -> dict[str, Any]:
    """One as the API shows it."""
    due_at = None if rest is None else (NOW + rest).isoformat()
    return {"phase": phase, "due_at": due_at, "generation": generation}


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        (deletion(rest=timedelta(days=3)), 15),
        (deletion(rest=timedelta(seconds=100)), 10),
        (deletion(rest=timedelta(seconds=1)), 0.25),
        (deletion(rest=timedelta(0)), 0.25),
        (deletion(rest=-timedelta(hours=1)), 15),
        (deletion("purging", rest=-timedelta(hours=1)), 0.25),
        (deletion("none"), 0.25),
    ],
)
def test_a_long_grace_is_not_asked_about_four_times_a_second(seen: dict[str, Any], seconds: float) -> None:
    """Waiting for days costs the API next to nothing, and the end is seen as soon as it comes."""
    assert purges.pause(seen, NOW) == seconds


def test_looks_come_closer_until_the_due_time() -> None:
    """Three days are a few thousand looks in all, and none of the pauses leads far past the due time."""
    rest, looks = timedelta(days=3), 0
    while rest > timedelta(0):
        rest -= timedelta(seconds=purges.pause(deletion(rest=rest), NOW))
        looks += 1

    assert looks < 3 * 24 * 3600 / 15 + 100
    assert rest >= -timedelta(seconds=0.25)


@pytest.mark.parametrize(
    ("seen", "over"),
    [
        (deletion(generation=1), False),
        (deletion("purging", generation=1), False),
        (deletion(generation=2), True),
        (deletion("purging", generation=2), False),
        (deletion("none", generation=2), True),
        (deletion("deleted", generation=1), True),
    ],
)
def test_what_somebody_changed_is_no_longer_what_was_waited_for(seen: dict[str, Any], over: bool) -> None:
    """Nobody waits for days for a deletion that was put off meanwhile without being told."""
    assert purges.is_over(seen, 1) is over
