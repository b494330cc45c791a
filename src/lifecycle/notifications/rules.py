"""When a delivery is tried again, and when a webhook is given up. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle.notifications.model import Outcome, Verdict

_FACTOR = 4
_LONGEST_PAUSE = timedelta(hours=6)
_LONGEST_ASKED = timedelta(days=1)  # more than that no target is left alone, whatever it asks for
_JITTER = 0.2
_MOST_FAILURES = 20  # many more, and a pause would be longer than a timedelta
_MOST_WAITS = 20
_LONGEST_WAIT_FOR_TURN = timedelta(minutes=1)


class Patience(NamedTuple):
    """How long and how often deliveries are tried.

    Attributes:
        first: pause after the first failure; each following one is four times as long, up to six hours.
        span: from the first attempt to the last.
        disable_after: how long a webhook may fail before it is disabled.
    """

    first: timedelta
    span: timedelta
    disable_after: timedelta


def next_attempt(
    verdict: Verdict, patience: Patience, *, attempts: int, since: datetime, jitter: float
) -> datetime | None:
    """When to try again after a failure; None when no more.

    Args:
        verdict: of the attempt that failed.
        patience: how long to go on.
        attempts: how many there were, with this one.
        since: when the first was due.
        jitter: from 0 to 1, so that what failed together does not come back together.
    """
    last = since + patience.span
    if verdict.outcome is not Outcome.FAILED or verdict.at >= last:
        return None
    pause = min(patience.first * float(_FACTOR ** min(attempts - 1, _MOST_FAILURES)), _LONGEST_PAUSE)
    asked = timedelta(seconds=max(verdict.retry_after_seconds or 0, 0))
    pause = max(pause * (1 + _JITTER * jitter), min(asked, _LONGEST_ASKED))
    return min(verdict.at + pause, last)


def next_turn(now: datetime, *, waits: int, jitter: float) -> datetime:
    """When to come back after `waits` times without a turn: after one to two seconds, then ever later to a minute."""
    wait = min(timedelta(seconds=2 ** min(waits, _MOST_WAITS)), _LONGEST_WAIT_FOR_TURN)
    return now + wait * (1 + jitter)


def is_given_up(patience: Patience, *, failing_since: datetime, now: datetime) -> bool:
    """Whether a webhook is disabled, now that a delivery to it was given up."""
    return now - failing_since >= patience.disable_after
