"""The bars of a rollout's steps."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.api.shapes.deployments import StepAnswer, seconds
from lifecycle.console import bars
from tests.support.factories import NOW

_SECONDS = st.floats(min_value=0, max_value=3600)


def step(name: str, begin: float, end: float | None, error: str = "") -> StepAnswer:
    """A step that began and ended so many seconds after a moment."""
    started_at = NOW + timedelta(seconds=begin)
    ended_at = None if end is None else NOW + timedelta(seconds=end)
    return StepAnswer(
        name=name,
        started_at=started_at,
        ended_at=ended_at,
        duration_seconds=seconds(started_at, ended_at),
        attempts=1,
        error=error,
    )


def test_bars_stand_where_the_time_went() -> None:
    """A step that took half of the time is half as long, and begins where the one before ended."""
    first, second = bars.of([step("start-instances", 0, 5), step("wait-until-ready", 5, 10)], NOW)

    assert (first.x, first.width, second.x, second.width) == (0, 500, 500, 500)


def test_a_step_that_goes_on_reaches_until_now() -> None:
    """What people wait for grows with each look, and says for how long."""
    shown = bars.of([step("build", 0, 2), step("start-instances", 2, None)], NOW + timedelta(seconds=8))[1]

    assert (shown.look, shown.x, shown.width) == ("rest", 250, 750)
    assert shown.text == "Start instances goes on, for 6.0 s so far"


def test_trouble_and_failure_are_told_apart() -> None:
    """A step that is tried again looks different from one that failed for good."""
    failed, troubled = bars.of(
        [step("build", 0, 2, "no Dockerfile"), step("activate", 2, None, "the gateway is down")], NOW
    )

    assert (failed.look, failed.text) == ("bad", "Build failed after 2.0 s")
    assert troubled.look == "warn"


def test_all_bars_in_words() -> None:
    """Whoever cannot see the bars is told the same."""
    shown = bars.summary([step("start-instances", 0, 0.02), step("wait-until-ready", 0.02, 1.5)], NOW)

    assert shown == "Start instances 20 ms; Wait until ready 1.5 s"
    assert bars.summary([], NOW) == "no step has begun"


def test_the_whole_rollout_counts_from_the_first_step_to_the_last() -> None:
    """Pauses between steps count too; without a step there is nothing to say."""
    assert bars.took([step("build", 1, 2), step("activate", 4, 5)], NOW) == 4
    assert bars.took([], NOW) is None


@given(st.lists(st.tuples(_SECONDS, _SECONDS | st.none()), min_size=1, max_size=8), _SECONDS)
def test_every_bar_is_seen_and_within_the_picture(times: list[tuple[float, float | None]], now: float) -> None:
    """Also steps that took no time, clocks that went back, and ones that began after now."""
    steps = [step("step", begin, None if lasted is None else begin + lasted) for begin, lasted in times]
    for bar in bars.of(steps, NOW + timedelta(seconds=now)):
        assert bar.width >= 7
        assert bar.x >= 0
        assert bar.x + bar.width <= bars.WIDTH + 0.2
