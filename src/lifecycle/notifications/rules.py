"""When a delivery is tried again, and when a webhook is given up. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle.notifications.model import Outcome, Verdict

_FACTOR = 4
_LONGEST_PAUSE = timedelta(hours=6)
_LONGEST_ASKED = timedelta(days=1)  # more than that no target is left alone, whatever it asks for
_JITTER = 0.2
_MOST_FAILURES = 20  # many more, and a pause would be longer than a float
_MOST_WAITS = 20
_LONGEST_WAIT_FOR_TURN = timedelta(minutes=1)
_LONGEST_WAIT_IN_BACKLOG = timedelta(minutes=5)
_LONGEST_REST = timedelta(minutes=1)


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
    verdict: Verdict, patience: Patience, *, failures: int, since: datetime, jitter: float
) -> datetime | None:
    """When to try again after a failure; None when no more.

    Args:
        verdict: of the attempt that failed.
        patience: how long to go on.
        failures: how many there were since it began, or began again, with this one.
        since: when the first was due.
        jitter: from 0 to 1, so that what failed together does not come back together.
    """
    last = since + patience.span
    if verdict.outcome is not Outcome.FAILED or verdict.last or verdict.at >= last:
        return None
    # In seconds, and cut before it is a timedelta: those end at some millions of years.
    seconds = patience.first.total_seconds() * float(_FACTOR) ** min(failures - 1, _MOST_FAILURES)
    pause = timedelta(seconds=min(seconds, _LONGEST_PAUSE.total_seconds()))
    asked = timedelta(seconds=max(verdict.retry_after_seconds or 0, 0))
    pause = max(pause * (1 + _JITTER * jitter), min(asked, _LONGEST_ASKED))
    return min(verdict.at + pause, last)


def next_turn(verdict: Verdict, *, waits: int, backlog: int, at_once: int, jitter: float) -> datetime:
    """When to come back without having had a turn.

    After one to two seconds, then ever later to a minute. Where much waits, as late as it takes to work it off, up to
    five minutes and the jitter: what comes back in vain is work too.

    Args:
        verdict: that says so.
        waits: how often before.
        backlog: how many deliveries wait for this target.
        at_once: how many have a turn at a time.
        jitter: from 0 to 1.
    """
    wait = min(timedelta(seconds=2 ** min(waits, _MOST_WAITS)), _LONGEST_WAIT_FOR_TURN)
    worked_off = timedelta(seconds=min(backlog * verdict.seconds_each / at_once, 86_400))
    wait = max(wait, min(worked_off, _LONGEST_WAIT_IN_BACKLOG))
    return max(verdict.at, verdict.not_before or verdict.at) + wait * (1 + jitter)


def rest_until(*, failing_since: datetime, now: datetime) -> datetime:
    """Until when other deliveries leave a target alone that just failed: half as long as it has failed, at most 1 min.

    One message that is refused among others that are taken makes nobody wait: each success begins anew.
    """
    return now + min((now - failing_since) / 2, _LONGEST_REST)


def is_given_up(patience: Patience, *, failing_since: datetime, now: datetime) -> bool:
    """Whether a webhook is disabled, now that a delivery to it was given up."""
    return now - failing_since >= patience.disable_after
