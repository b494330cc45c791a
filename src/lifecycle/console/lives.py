"""Lives of certificates as pictures: where each bar begins and ends. Pure.

All bars of a page share one axis with now at the same place in each, so that expiry makes a staircase. Distances from
now are drawn by their square root: the difference between a day and a week matters more than that between two years.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import sqrt
from typing import NamedTuple

from lifecycle.certs.renewals import Life
from lifecycle.durations import humanize

_MARKS = (
    (timedelta(hours=1), "1 h"),
    (timedelta(hours=6), "6 h"),
    (timedelta(days=1), "1 day"),
    (timedelta(days=7), "1 week"),
    (timedelta(days=30), "30 days"),
    (timedelta(days=90), "90 days"),
    (timedelta(days=365), "1 year"),
    (timedelta(days=1825), "5 years"),
)
_BETWEEN_MARKS = 15.0  # of the width, so that labels do not touch on a phone
_SHORTEST = timedelta(hours=1)


class Span(NamedTuple):
    """A part of the width, in per cent."""

    at: float
    width: float


class Mark(NamedTuple):
    """A distance from now that is written at the axis."""

    at: float
    text: str


class Bar(NamedTuple):
    """The life of one certificate.

    Attributes:
        past: what is over.
        rest: until the next renewal; until the end when none is planned.
        margin: from the renewal to the end.
        renewal_at: place of the next renewal.
        tone: `good`, `warn` when a renewal is late, or `bad` when it has expired or is about to.
        words: the same for whoever does not see it.
    """

    past: Span
    rest: Span
    margin: Span
    renewal_at: float | None
    tone: str
    words: str


class Axis(NamedTuple):
    """The scale that the bars of a page share.

    Attributes:
        now_at: place of now, in per cent.
        per_root: per cent for each square root of a second.
        marks: what is written at it.
    """

    now: datetime
    now_at: float
    per_root: float
    marks: tuple[Mark, ...]

    def place(self, at: datetime) -> float:
        """Where a moment is, in per cent of the width."""
        return _place((at - self.now).total_seconds(), self.now_at, self.per_root)


def axis(lives: Iterable[Life], now: datetime) -> Axis:
    """The scale on which all these lives fit."""
    known = list(lives)
    before = max([_SHORTEST, *(now - one.not_before for one in known)]).total_seconds()
    behind = max([_SHORTEST, *(one.not_after - now for one in known)]).total_seconds()
    per_root = 100 / (sqrt(before) + sqrt(behind))
    now_at = sqrt(before) * per_root
    return Axis(now, now_at, per_root, tuple(_marks(now_at, per_root)))


def bar(axis: Axis, life: Life, *, renewal: datetime | None) -> Bar:
    """The bar of one certificate.

    Args:
        axis: from `axis`, of all that are shown together.
        life: of the certificate.
        renewal: when it is renewed next, or tried again; None when nobody does.
    """
    now, end = axis.now, life.not_after
    turn = end if renewal is None else min(max(renewal, now), end)
    return Bar(
        past=_span(axis, life.not_before, min(now, end)),
        rest=_span(axis, now, turn),
        margin=_span(axis, turn, end),
        renewal_at=None if renewal is None or renewal < now else axis.place(min(renewal, end)),
        tone=tone(life, renewal=renewal, now=now),
        words=words(life, renewal=renewal, now=now),
    )


def tone(life: Life, *, renewal: datetime | None, now: datetime) -> str:
    """How worrying it is: `good`, `warn` or `bad`."""
    if now >= life.floor:
        return "bad"
    return "warn" if renewal is None or renewal < now else "good"


def words(life: Life, *, renewal: datetime | None, now: datetime) -> str:
    """What the bar shows, in a sentence or two."""
    if now >= life.not_after:
        return f"Expired {humanize(now - life.not_after)} ago."
    left = f"{humanize(now - life.not_before)} of its life are over, {humanize(life.not_after - now)} are left."
    if renewal is None:
        return f"{left} No renewal is planned."
    return f"{left} " + (f"Renewed in {humanize(renewal - now)}." if renewal > now else "Its renewal is due.")


def _marks(now_at: float, per_root: float) -> Sequence[Mark]:
    found: list[Mark] = []
    for sign in (-1, 1):
        last = now_at
        # The farthest that fits is the most telling one, so places are given from the outside.
        for distance, text in reversed(_MARKS):
            at = _place(sign * distance.total_seconds(), now_at, per_root)
            is_free = all(abs(at - one.at) >= _BETWEEN_MARKS for one in found) and abs(at - last) >= _BETWEEN_MARKS
            if _BETWEEN_MARKS / 3 <= at <= 100 - _BETWEEN_MARKS / 3 and is_free:
                found.append(Mark(round(at, 1), text))
    return sorted(found)


def _span(axis: Axis, start: datetime, end: datetime) -> Span:
    at = axis.place(start)
    return Span(round(at, 2), round(max(0.0, axis.place(end) - at), 2))


def _place(seconds: float, now_at: float, per_root: float) -> float:
    return now_at + (sqrt(seconds) if seconds >= 0 else -sqrt(-seconds)) * per_root
