"""What a problem of a certificate authority means, and when to try again. Pure.

It is judged by its *type* (RFC 8555, section 6.7), never by its words, but for two that have no type of their own:
Let's Encrypt's pause, and what Pebble says of a certificate that it does not find. The figures are those of Let's
Encrypt's documentation as of 2026-08-05, which is the strictest of the large CAs.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus

from lifecycle.certs.verdicts import Failure, Problem, RateLimited, Unanswered

# https://letsencrypt.org/docs/integration-guide/: 1 min, 10 min, 100 min, then at most daily.
_PAUSES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), timedelta(days=1))
# Let at least this many attempts fit into the life that is left.
_ATTEMPTS_LEFT = 12
# An expired certificate is tried again this often, a short-lived one in proportion.
_EXPIRED_PAUSE, _EXPIRED_SHARE = timedelta(minutes=10), 60
# Let's Encrypt allows five failed validations an hour for a name, and gives one back every twelve minutes.
_VALIDATIONS, _VALIDATION_HOUR = 3, timedelta(hours=1)
_VALIDATION_PAUSE = timedelta(minutes=12)
# No CA means more than this; a larger figure is a mistake, and must not overflow a date.
_LONGEST_WAIT = timedelta(days=366)

_SECONDS = re.compile(r"[0-9]{1,12}")
_UNPAUSE = re.compile(r"https://\S*/unpause\S*")
_STATED = re.compile(r"retry after (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}) UTC")

_GO_ON = frozenset({"badNonce", "orderNotReady"})
_VALIDATION = frozenset({"connection", "dns", "dnssec", "tls", "caa", "incorrectResponse"})
_ACCOUNT = frozenset({"accountDoesNotExist", "userActionRequired"})
_TRANSIENT = frozenset({"serverInternal"})
_AGAINST_REPLACES = frozenset({"alreadyReplaced", "malformed", "unauthorized"})
# Pebble 2.10 fails (serverInternal) when it does not find what is to be replaced, as with one serial of 256. Any other
# failure of a server passes, and the order is to say what it replaces then as well: without it counts for every limit.
_NOT_FOUND = re.compile(r"order for the given certificate|\breplac", re.IGNORECASE)


class About(StrEnum):
    """What was asked when the problem came; the same type means different things."""

    REQUEST = "request"
    ORDER = "order"
    CHALLENGE = "challenge"


class Meaning(StrEnum):
    """What is to be done.

    Attributes:
        GO_ON: read the order again, now; it is further, or the request was only early.
        WAIT: as long as the CA says; no attempt is used up.
        TRANSIENT: back off, read the order, go on.
        VALIDATION: this order is dead; a new one when `next_validation` allows, after another pre-flight.
        WITHOUT_REPLACES: the same order again, without `replaces` (RFC 9773, section 5).
        TERMINAL: stop and tell the owner; the same order can never succeed.
        ACCOUNT: stop everything of this account, and alert.
        PAUSED: stop, and show the link at which a person lets it go on.
    """

    GO_ON = "go_on"
    WAIT = "wait"
    TRANSIENT = "transient"
    VALIDATION = "validation"
    WITHOUT_REPLACES = "without_replaces"
    TERMINAL = "terminal"
    ACCOUNT = "account"
    PAUSED = "paused"


def meaning(failure: Failure, *, about: About, replaces: bool = False) -> Meaning:
    """What an answer means.

    Args:
        failure: as the CA gave it.
        about: what was asked; for the problem of an authorization or a challenge `CHALLENGE`.
        replaces: whether it was a new order that names the certificate which it replaces.
    """
    if isinstance(failure, RateLimited):
        return Meaning.PAUSED if unpause_link(failure.problem) else Meaning.WAIT
    if isinstance(failure, Unanswered):
        return Meaning.WAIT if failure.retry_at else Meaning.TRANSIENT
    problem = failure.problem
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE and failure.retry_at:
        return Meaning.WAIT
    if replaces and _is_against_replaces(problem):
        return Meaning.WITHOUT_REPLACES
    return _by_kind(problem, about=about)


def _is_against_replaces(problem: Problem) -> bool:
    is_unfound = problem.kind in _TRANSIENT and _NOT_FOUND.search(problem.detail) is not None
    return is_unfound or problem.kind in _AGAINST_REPLACES


def _by_kind(problem: Problem, *, about: About) -> Meaning:
    kind = problem.kind
    if kind == "compound" and problem.subproblems:
        return _worst([_by_kind(one, about=about) for one in problem.subproblems])
    if kind in _GO_ON:
        return Meaning.GO_ON
    if kind in _VALIDATION or (kind == "unauthorized" and about is About.CHALLENGE):
        return Meaning.VALIDATION
    if kind in _ACCOUNT or kind == "unauthorized":
        return Meaning.ACCOUNT
    if about is About.ORDER and problem.status == HTTPStatus.NOT_FOUND:
        # It has expired, and the CA has forgotten it.
        return Meaning.VALIDATION
    if kind in _TRANSIENT or (problem.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Meaning.TRANSIENT
    if kind == "rateLimited":
        return Meaning.WAIT
    return Meaning.TERMINAL


def _worst(meanings: Sequence[Meaning]) -> Meaning:
    """The one that forbids most: what stops one name stops the order."""
    order = list(Meaning)
    return max(meanings, key=order.index)


def unpause_link(problem: Problem) -> str | None:
    """Where a person ends Let's Encrypt's pause of an account and name; None when it is no pause.

    Boulder gives it the type `rateLimited` and puts the link into the text.
    """
    found = _UNPAUSE.search(problem.detail) or _UNPAUSE.search(problem.instance or "")
    return found[0].rstrip(".,;)\"'") if found else None


def link_for_person(problem: Problem) -> str | None:
    """Where a person must act before the CA goes on; None when nobody must.

    It is the end of a pause, or what has to be agreed to (RFC 8555, section 7.3.3).
    """
    return unpause_link(problem) or (problem.instance if problem.kind == "userActionRequired" else None)


def retry_after(header: str | None, *, now: datetime) -> datetime | None:
    """When a `Retry-After` lets us go on, never before `now`; None when there is none that can be read.

    Args:
        header: seconds, or a date (RFC 9110, section 10.2.3); one without a zone is UTC.
        now: when the answer came.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return now + min(timedelta(seconds=int(text)), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(moment, now), now + _LONGEST_WAIT)


def stated_retry(problem: Problem, *, now: datetime) -> datetime | None:
    """The time that a rate limit names in its text, never before `now`; None when it names none.

    Let's Encrypt documents the words "retry after YYYY-MM-DD hh:mm:ss UTC"; a header, where there is one, goes first.
    """
    found = _STATED.search(problem.detail)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        return None
    return min(max(moment, now), now + _LONGEST_WAIT)


def backoff(attempt: int, *, random: float, lifetime: timedelta | None, remaining: timedelta | None) -> timedelta:
    """How long to wait after a failed attempt.

    Args:
        attempt: how many have failed; 1 after the first.
        random: from 0 to 1; makes the pause up to a tenth shorter, so that a fleet does not come back as one.
        lifetime: of the certificate that is in use; None when there is none.
        remaining: how long it is still valid, negative once it has expired.

    Returns:
        At most a day, and at most a twelfth of what remains.
    """
    pause = _PAUSES[min(max(attempt, 1), len(_PAUSES)) - 1]
    if lifetime is not None and remaining is not None:
        least = min(_EXPIRED_PAUSE, lifetime / _EXPIRED_SHARE)
        pause = min(pause, max(remaining / _ATTEMPTS_LEFT, least))
    return pause * (1 - random / 10)


def next_validation(failures: Sequence[datetime], *, now: datetime) -> datetime:
    """When a validation may be tried again: twelve minutes after the last, and at most three in any hour.

    Args:
        failures: when validations of the same name under the same account failed, in any order.
        now: the earliest answer.
    """
    last = sorted(failures)[-_VALIDATIONS:]
    earliest = [now]
    if last:
        earliest.append(last[-1] + _VALIDATION_PAUSE)
    if len(last) == _VALIDATIONS:
        earliest.append(last[0] + _VALIDATION_HOUR)
    return max(earliest)
