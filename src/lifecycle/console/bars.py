"""How long the steps of a rollout took, as bars beside each other on one axis of time. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle.api.shapes.deployments import StepAnswer
from lifecycle.console import words

WIDTH = 1000.0
# Two pixels of a bar that is 300 wide: what took no time at all is still seen.
_LEAST = 7.0


class Bar(NamedTuple):
    """One step.

    Attributes:
        x: where it begins, from 0 to `WIDTH`.
        width: how long it took, on the same scale.
        look: `bar` for one that is done, `bad` for one that failed, `warn` for one in trouble, `rest` for one that
            goes on.
        text: the same for those who do not see it.
    """

    step: StepAnswer
    x: float
    width: float
    look: str
    text: str


def of(steps: Sequence[StepAnswer], now: datetime) -> tuple[Bar, ...]:
    """The bars of a rollout; a step that goes on reaches until now."""
    if not steps:
        return ()
    begun = min(step.started_at for step in steps)
    whole = max(_end(step, now) for step in steps) - begun
    return tuple(_bar(step, begun, whole, now) for step in steps)


def took(steps: Sequence[StepAnswer], now: datetime) -> float | None:
    """Seconds from the first step to the last, or until now; None before the first."""
    if not steps:
        return None
    begun = min(step.started_at for step in steps)
    return (max(_end(step, now) for step in steps) - begun) / timedelta(seconds=1)


def summary(steps: Sequence[StepAnswer], now: datetime) -> str:
    """All bars in words."""
    return "; ".join(bar.text for bar in of(steps, now)) or "no step has begun"


def _bar(step: StepAnswer, begun: datetime, whole: timedelta, now: datetime) -> Bar:
    end = _end(step, now)
    share = WIDTH / whole.total_seconds() if whole > timedelta(0) else 0.0
    width = max(_LEAST, (end - step.started_at).total_seconds() * share)
    x = min((step.started_at - begun).total_seconds() * share, WIDTH - width)
    name, lasted = words.sentence(step.name), words.span((end - step.started_at) / timedelta(seconds=1))
    if step.ended_at is not None:
        look, text = ("bad", f"{name} failed after {lasted}") if step.error else ("bar", f"{name} {lasted}")
    else:
        look, text = ("warn" if step.error else "rest"), f"{name} goes on, for {lasted} so far"
    return Bar(step, round(max(0.0, x), 1), round(min(width, WIDTH), 1), look, text)


def _end(step: StepAnswer, now: datetime) -> datetime:
    return max(step.ended_at or now, step.started_at)
