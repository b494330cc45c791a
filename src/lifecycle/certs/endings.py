"""What a failure means for an issuance: whether it goes on by itself, and if not how it ends. Pure."""

from datetime import datetime, timedelta
from http import HTTPStatus

from lifecycle.certs import problems
from lifecycle.certs.model import Ending, Outcome
from lifecycle.certs.problems import About, Meaning
from lifecycle.certs.verdicts import Failure, RateLimited, Refused, Unanswered

# A longer wait is a countdown's, and pins no code.
_BRIEF = timedelta(minutes=1)
# A CA that always says "in a moment" is not asked for ever.
_BRIEF_WAITS, _SHORTEST = 10, timedelta(milliseconds=500)
# What the SDK raises where an invocation is cancelled at the engine's admin port.
_CANCELLED = "cancelled"
_TRANSIENT_PAUSES = (timedelta(seconds=1), timedelta(seconds=4))
_ENDINGS = {
    Meaning.GO_ON: Ending.AGAIN,
    Meaning.WAIT: Ending.WAIT,
    Meaning.TRANSIENT: Ending.AGAIN,
    Meaning.VALIDATION: Ending.INVALID,
    Meaning.WITHOUT_REPLACES: Ending.AGAIN,
    Meaning.TERMINAL: Ending.REFUSED,
    Meaning.ACCOUNT: Ending.ACCOUNT,
    Meaning.PAUSED: Ending.PAUSED,
}


def pause(failure: Failure, *, about: About, attempt: int, now: datetime) -> timedelta | None:
    """How long to wait before asking the same again; None ends the issuance, for now at least.

    Args:
        failure: as the CA gave it.
        about: what was asked.
        attempt: how often it was asked by now.
        now: the present time.
    """
    match problems.meaning(failure, about=about):
        case Meaning.WAIT:
            wait = (_until(failure) or now + _BRIEF * 2) - now
            return max(wait, _SHORTEST) if wait <= _BRIEF and attempt <= _BRIEF_WAITS else None
        case Meaning.TRANSIENT | Meaning.GO_ON if attempt <= len(_TRANSIENT_PAUSES):
            return _TRANSIENT_PAUSES[attempt - 1]
        case _:
            return None


def outcome(failure: Failure, *, about: About, ca: str, now: datetime) -> Outcome:
    """How an issuance ends that met with this failure."""
    ending = _ENDINGS[problems.meaning(failure, about=about)]
    link = None if isinstance(failure, Unanswered) else problems.link_for_person(failure.problem)
    until = _until(failure) or now + _BRIEF * 10
    return Outcome(
        ending=ending,
        message=message(failure),
        ca=ca,
        until=until if ending is Ending.WAIT else None,
        unpause_link=link,
    )


def own(why: str, *, status: int, ca: str) -> Outcome:
    """How an issuance ends that a refusal of our own ended, or the engine, where somebody cancelled its invocation.

    Args:
        why: the message of the `restate.TerminalError`.
        status: its status.
        ca: whom the issuance asked; empty before that is chosen.
    """
    if (status, why) == (HTTPStatus.CONFLICT, _CANCELLED):
        return Outcome(ending=Ending.AGAIN, message="Its issuance was cancelled in the engine.", ca=ca)
    return Outcome(ending=Ending.REFUSED, message=why, ca=ca)


def message(failure: Failure) -> str:
    """The failure for people."""
    match failure:
        case Unanswered(reason=reason):
            return f"The CA did not answer: {reason}"
        case Refused(problem=problem) | RateLimited(problem=problem):
            return f"The CA said {problem.summary}"


def _until(failure: Failure) -> datetime | None:
    return failure.until if isinstance(failure, RateLimited) else failure.retry_at
