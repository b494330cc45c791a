"""The circuit breaker of a certificate authority. Pure.

    closed ──three failures in a row──> open ──its time is over──> half open ──success──> closed
      └──────trouble with the account────^         ^──────failure──────┘

It is kept in the database, so that a restart forgets nothing. While it is half open, one caller at a time gets
through; `probing_until` is that caller's time.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from lifecycle.certs.problems import Meaning

# A single lost request says nothing; a third in a row does.
_FAILURES = 3
_PAUSES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=1))
# What is wrong with an account is mended by a person.
ACCOUNT_PAUSE = timedelta(hours=1)
# Longer than one request may take, so that the answer of the one that got through comes first.
PROBE = timedelta(minutes=1)
# Let's Encrypt's classic profile, as of 2026-11.
USUAL_LIFETIME = timedelta(days=90)
# With less than this share of a certificate's life left, another CA is better than waiting for the usual one.
_SHORT = 5

# The CA works, whatever it thinks of this order.
_ANSWERS = frozenset({Meaning.GO_ON, Meaning.VALIDATION, Meaning.WITHOUT_REPLACES, Meaning.PAUSED})


class Gate(StrEnum):
    """Whether requests go to a CA.

    Attributes:
        HALF_OPEN: the next one does, and shows whether more may follow.
    """

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Breaker(NamedTuple):
    """What is remembered of a CA.

    Attributes:
        failures: in a row.
        open_until: None while it is closed.
        probing_until: until then somebody finds out whether the CA works again.
        last_error: of the last failure; empty while nothing is wrong.
    """

    failures: int = 0
    open_until: datetime | None = None
    probing_until: datetime | None = None
    last_error: str = ""

    def gate(self, now: datetime) -> Gate:
        """Whether a request may go to the CA."""
        if self.open_until is None:
            return Gate.CLOSED
        return Gate.OPEN if now < self.opens_at else Gate.HALF_OPEN

    @property
    def opens_at(self) -> datetime:
        """When the next request may go to the CA that is kept from it now."""
        if self.open_until is None:
            raise ValueError("it is closed")
        return max(self.open_until, self.probing_until or self.open_until)

    def probed(self, now: datetime) -> "Breaker":
        """After one request was let through a half-open one."""
        return self._replace(probing_until=now + PROBE)

    def after(self, meaning: Meaning | None, *, now: datetime, error: str = "") -> "Breaker":
        """What is remembered after an answer.

        Args:
            meaning: of a failure; None is success.
            now: when the answer came.
            error: for people.
        """
        if meaning is None or meaning in _ANSWERS:
            return Breaker()
        if meaning is Meaning.ACCOUNT:
            return Breaker(max(self.failures, _FAILURES), now + ACCOUNT_PAUSE, None, error)
        # While it is open, only what began before that can fail; it says nothing new.
        if meaning is not Meaning.TRANSIENT or (self.open_until is not None and now < self.open_until):
            return self
        failures = self.failures + 1
        if failures < _FAILURES:
            return self._replace(failures=failures, last_error=error)
        return Breaker(failures, now + _PAUSES[min(failures - _FAILURES, len(_PAUSES) - 1)], None, error)


class Picked(NamedTuple):
    """The CA to use.

    Attributes:
        instead_of: the preferred one that does not work now, if it is not that.
    """

    ca: str
    instead_of: str | None = None


class Closed(NamedTuple):
    """No CA is to be asked before `until`; `why` is for people."""

    until: datetime
    why: str


def pick(
    order: Sequence[str],
    breakers: Mapping[str, Breaker],
    preferred: str | None,
    *,
    now: datetime,
    remaining: timedelta | None,
    lifetime: timedelta = USUAL_LIFETIME,
) -> Picked | Closed:
    """The first CA in order that is not kept from requests.

    Args:
        order: names of the CAs that may be used, best first; at least one.
        breakers: by name; one that is missing is closed.
        preferred: used before all others. While it is open, others are used only when there is no certificate yet, or
            less than a fifth of its life is left.
        now: of the question.
        remaining: how long the present certificate is still valid; None when there is none.
        lifetime: of the present certificate.
    """
    candidates = [preferred, *(one for one in order if one != preferred)] if preferred else list(order)
    waits = preferred is not None and remaining is not None and remaining >= lifetime / _SHORT
    if waits:
        candidates = candidates[:1]
    closed = []
    for name in candidates:
        breaker = breakers.get(name, Breaker())
        if breaker.gate(now) is not Gate.OPEN:
            return Picked(name, instead_of=preferred if preferred not in (None, name) else None)
        closed.append((breaker.opens_at, name, breaker.last_error))
    until = min(moment for moment, _, _ in closed)
    return Closed(until, "; ".join(f"{name}: {error}" for _, name, error in closed))
