"""When a certificate is renewed. Pure: time and chance are arguments.

    the CA's window (RFC 9773)  ──one moment, chosen once──┐
    no window: 2/3 of the life, 1/2 below ten days ±1 % ───┼──> the earliest, never after the floor at 5 % left
    issued in bulk: once, spread over the former half ─────┘

A moment is chosen once for each window and certificate, and kept: a window that belongs to another certificate says
nothing (cert-manager#8993: five certificates in ten seconds).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from lifecycle.certs.verdicts import RenewalInfo
from lifecycle.models import Durable

# https://letsencrypt.org/docs/integration-guide/ and Boulder's own windows: 2/3, or 1/2 below ten days, ±1 %.
_SHORT_LIFE = timedelta(days=10)
_FALLBACK_SHARE, _SHORT_FALLBACK_SHARE = 2 / 3, 1 / 2
_JITTER = 0.02
# certmagic's emergency: with a twentieth left the CA's window is ignored, with a fiftieth somebody is woken.
_FLOOR_SHARE, _ALARM_SHARE = 1 / 20, 1 / 50
# RFC 9773, section 4.3.2: between a minute and a day; 6 h after an error that lasts.
_SOONEST_LOOK, _LATEST_LOOK = timedelta(minutes=1), timedelta(days=1)
_LOOK_AFTER_ERROR = timedelta(hours=6)
# certmagic leaves the replaced certificate out of the third attempt, in case it is what fails the order.
_ATTEMPTS_THAT_REPLACE = 2
# The order has to reach the CA inside the window, so the moment is not chosen at the very end of it.
_SLACK = timedelta(minutes=1)
# How long a window that was read once outlives a CA that gives none any more.
_WINDOW_PATIENCE = timedelta(hours=24)
# Two issuances a day are plenty for a certificate that lives longer. A shorter one counts by half its own life, so that
# half of it is left whenever the budget lets the next one begin.
_BUDGET, _BUDGET_PERIOD = 2, timedelta(hours=24)


class Source(StrEnum):
    """Why a renewal is planned for its moment."""

    WINDOW = "window"
    FALLBACK = "fallback"
    SPREAD = "spread"
    FLOOR = "floor"
    MOVED = "moved"


class Life(Durable):
    """From when to when a certificate is valid; both ends are in its dates."""

    not_before: datetime
    not_after: datetime

    @property
    def length(self) -> timedelta:
        """How long it is valid."""
        return self.not_after - self.not_before

    @property
    def is_short(self) -> bool:
        """Whether it is renewed at half of it, where the CA says nothing, instead of at two thirds."""
        return self.length < _SHORT_LIFE

    @property
    def floor(self) -> datetime:
        """The latest moment for a renewal, whatever the CA says."""
        return self.not_after - self.length * _FLOOR_SHARE

    def is_alarming(self, *, now: datetime) -> bool:
        """Whether so little is left that a person has to know."""
        return now >= self.not_after - self.length * _ALARM_SHARE


class Choice(Durable):
    """The moment that was chosen in a window of the CA.

    Attributes:
        certificate_id: whose window it is (RFC 9773, section 4.1).
        at: the moment; may be in the past, which means at once.
        explanation_url: why the CA wants it; for people.
    """

    certificate_id: str
    start: datetime
    end: datetime
    at: datetime
    explanation_url: str | None = None

    def belongs_to(self, window: RenewalInfo) -> bool:
        """Whether it was chosen in this very window."""
        return (self.certificate_id, self.start, self.end) == (window.certificate_id, window.start, window.end)


class Plan(Durable):
    """When a certificate is renewed, and why then."""

    at: datetime
    source: Source


def choose(
    window: RenewalInfo | None, former: Choice | None, *, certificate_id: str, random: float, silent_for: timedelta
) -> Choice | None:
    """The moment inside the CA's window; None when there is no window that counts.

    Args:
        window: as it was just read; None when the CA gave none. A broken one, or one of another certificate, is none.
        former: what was chosen before; kept while its window stays, and for a day without any.
        certificate_id: of the certificate in use.
        random: from 0 to 1; used for a new window only.
        silent_for: since when the CA has given no window.
    """
    if window is not None and window.certificate_id == certificate_id and window.end > window.start:
        if former is not None and former.belongs_to(window):
            return former.model_copy(update={"explanation_url": window.explanation_url})
        width = window.end - window.start
        return Choice(
            certificate_id=certificate_id,
            start=window.start,
            end=window.end,
            at=window.start + (width - min(_SLACK, width / 10)) * random,
            explanation_url=window.explanation_url,
        )
    if former is not None and former.certificate_id == certificate_id and silent_for < _WINDOW_PATIENCE:
        return former
    return None


def fallback(life: Life, *, random: float) -> datetime:
    """When to renew without the CA's advice: 2/3 of the life, 1/2 below ten days, with a jitter of 2 % of it.

    Args:
        life: of the certificate.
        random: from 0 to 1; drawn once for a certificate, and kept.
    """
    share = _SHORT_FALLBACK_SHARE if life.is_short else _FALLBACK_SHARE
    return life.not_before + life.length * (share + _JITTER * (random - 0.5))


def spread(life: Life, *, index: int, count: int, random: float) -> datetime:
    """When to renew a certificate for the first time that was issued together with many.

    Let's Encrypt asks for it: certificates that are issued within an hour and renewed in a window of 2 % stay
    together for a year. Once spread over half the time that they have, they stay spread.

    Args:
        life: of the certificate.
        index: its place among them, from 0.
        count: how many they are.
        random: from 0 to 1.
    """
    latest = fallback(life, random=0) - life.not_before
    return life.not_before + latest * (1 + (index + random) / count) / 2


def plan(life: Life, choice: Choice | None, *, random: float, spread_at: datetime | None = None) -> Plan:
    """When to renew, and why then.

    Args:
        life: of the certificate in use.
        choice: what `choose` gave.
        random: from 0 to 1; drawn once for a certificate, and kept.
        spread_at: what `spread` gave, for one that was issued in bulk and never renewed.
    """
    wanted = (
        Plan(at=fallback(life, random=random), source=Source.FALLBACK)
        if choice is None
        else Plan(at=choice.at, source=Source.WINDOW)
    )
    if spread_at is not None and spread_at < wanted.at:
        wanted = Plan(at=spread_at, source=Source.SPREAD)
    return wanted if wanted.at <= life.floor else Plan(at=life.floor, source=Source.FLOOR)


def next_look(life: Life, *, now: datetime, retry_at: datetime | None, is_answered: bool) -> datetime | None:
    """When to read the CA's window again; None once the certificate has expired.

    Args:
        life: of the certificate in use.
        now: when it was read.
        retry_at: what the CA's Retry-After says: an interval that is wanted, neither shorter nor longer.
        is_answered: whether a window came that can be used.
    """
    pause = _LOOK_AFTER_ERROR if retry_at is None or not is_answered else retry_at - now
    at = now + min(max(pause, _SOONEST_LOOK), _LATEST_LOOK)
    return at if at < life.not_after else None


def next_issuance(issued: Sequence[datetime], *, now: datetime, life: Life | None) -> datetime:
    """When the budget allows another issuance: two in any day, or in half the life of a certificate that lives shorter.

    Args:
        issued: when certificates of the same names were issued, in any order.
        now: the earliest answer.
        life: of the certificate in use.
    """
    period = _BUDGET_PERIOD if life is None else min(_BUDGET_PERIOD, life.length / 2)
    last = sorted(issued)[-_BUDGET:]
    return max(now, last[0] + period) if len(last) == _BUDGET else now


def replaces(attempt: int, certificate_id: str | None) -> str | None:
    """What a new order says it replaces (RFC 9773, section 5); nothing from the third attempt on.

    Args:
        attempt: 1 for the first order of this renewal.
        certificate_id: of the certificate in use.
    """
    return certificate_id if attempt <= _ATTEMPTS_THAT_REPLACE else None
