"""The rate limits of certificate authorities, as token buckets. Pure.

The figures are those of https://letsencrypt.org/docs/rate-limits/ and of its staging environment, as of 2026-08-05.
A bucket is full at first, each use takes a token, and tokens come back evenly. What the CA itself says of a limit goes
before what was counted here: `blocked_until`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Network, ip_address
from types import MappingProxyType
from typing import Literal, NamedTuple

from lifecycle.certs import names
from lifecycle.certs.names import Identifier
from lifecycle.certs.verdicts import Problem

Plan = Literal["letsencrypt", "letsencrypt-staging", "none"]

# New names leave this share of a bucket to renewals, which cannot wait.
_RESERVED = 5
# Float arithmetic over years must not make a token out of rounding, nor lose one.
ROUNDING = 1e-6
# A limit of the CA that names no time; most of its limits give a token back within this.
UNSTATED_BLOCK = timedelta(minutes=10)
# RFC 6177: a site gets at least this; Let's Encrypt counts an IPv6 address under it.
_SITE = 64


class Limit(StrEnum):
    """What a CA counts.

    Attributes:
        REQUESTS: anything else it limits; only ever blocked, never counted here.
    """

    NEW_ACCOUNTS = "new-accounts"
    NEW_ORDERS = "new-orders"
    REGISTERED_DOMAIN = "certificates-per-registered-domain"
    EXACT_SET = "certificates-per-exact-set"
    FAILED_AUTHORIZATIONS = "failed-authorizations"
    REQUESTS = "requests"


class Event(StrEnum):
    """What uses tokens up."""

    ACCOUNT = "account"
    ORDER = "order"
    CERTIFICATE = "certificate"
    FAILED_AUTHORIZATION = "failed-authorization"


class Figure(NamedTuple):
    """How many tokens a bucket holds, and the time in which an empty one becomes full."""

    capacity: int
    period: timedelta

    @property
    def token(self) -> timedelta:
        """The time in which one token comes back."""
        return self.period / self.capacity


class Bucket(NamedTuple):
    """How full a bucket was at a moment."""

    tokens: float
    at: datetime
    blocked_until: datetime | None = None


class Place(NamedTuple):
    """One bucket of a CA: the limit, and what it counts for; empty for what counts for the whole account."""

    limit: Limit
    subject: str = ""


class Admitted(NamedTuple):
    """The order may be sent."""


class Queued(NamedTuple):
    """The order may be sent at `until`; `why` is for people."""

    until: datetime
    limit: Limit
    why: str


_HOURS, _WEEK = timedelta(hours=3), timedelta(days=7)
PLANS: Mapping[Plan, Mapping[Limit, Figure]] = MappingProxyType(
    {
        "letsencrypt": {
            Limit.NEW_ACCOUNTS: Figure(10, _HOURS),
            Limit.NEW_ORDERS: Figure(300, _HOURS),
            Limit.REGISTERED_DOMAIN: Figure(50, _WEEK),
            Limit.EXACT_SET: Figure(5, _WEEK),
            Limit.FAILED_AUTHORIZATIONS: Figure(5, timedelta(hours=1)),
        },
        "letsencrypt-staging": {
            Limit.NEW_ACCOUNTS: Figure(50, _HOURS),
            Limit.NEW_ORDERS: Figure(1500, _HOURS),
            Limit.REGISTERED_DOMAIN: Figure(30_000, _WEEK),
            Limit.EXACT_SET: Figure(30_000, _WEEK),
            Limit.FAILED_AUTHORIZATIONS: Figure(200, timedelta(hours=1)),
        },
        "none": {},
    }
)
# After this a bucket is full again, and its row says nothing any more.
LONGEST_PERIOD = _WEEK


def tokens(bucket: Bucket | None, figure: Figure, *, now: datetime) -> float:
    """How many tokens are in a bucket now; one that was never used is full."""
    if bucket is None:
        return float(figure.capacity)
    # Clocks of several workers differ: nothing comes back for a time that has not passed.
    passed = max(now - bucket.at, timedelta(0))
    return min(bucket.tokens + passed / figure.period * figure.capacity, float(figure.capacity))


def take(bucket: Bucket | None, figure: Figure, *, now: datetime) -> Bucket:
    """The bucket without one token. An empty one stays empty: the CA has counted otherwise."""
    left = max(tokens(bucket, figure, now=now) - 1, 0.0)
    at = now if bucket is None else max(now, bucket.at)
    return Bucket(left, at, None if bucket is None else bucket.blocked_until)


def free_at(bucket: Bucket | None, figure: Figure, *, now: datetime, reserved: float = 0) -> datetime:
    """When a token may be taken and `reserved` be left; `now` when it may."""
    missing = 1 + reserved - tokens(bucket, figure, now=now)
    if missing <= ROUNDING:
        return now
    # A moment later rather than one too early.
    return max(now, now if bucket is None else bucket.at) + missing * figure.token + timedelta(milliseconds=1)


def places(event: Event, identifiers: Sequence[Identifier], *, renewal: bool, ari: bool) -> tuple[Place, ...]:
    """The buckets from which something takes a token, in a fixed order.

    Args:
        event: what happens.
        identifiers: of the order, or those whose validation failed.
        renewal: the same names had a certificate before: exempt from orders and registered domains, not from the set.
        ari: it renews inside the window that the CA gave, and says so (RFC 9773): exempt from everything.
    """
    if event is Event.ACCOUNT:
        return (Place(Limit.NEW_ACCOUNTS),)
    if ari:
        return ()
    match event:
        case Event.ORDER:
            return () if renewal else (Place(Limit.NEW_ORDERS),)
        case Event.CERTIFICATE:
            whole = Place(Limit.EXACT_SET, names_digest(identifiers))
            return (whole,) if renewal else (whole, *_distinct(Limit.REGISTERED_DOMAIN, map(domain, identifiers)))
        case Event.FAILED_AUTHORIZATION:
            return _distinct(Limit.FAILED_AUTHORIZATIONS, map(authorized, identifiers))


def wanted(identifiers: Sequence[Identifier], *, renewal: bool, ari: bool) -> tuple[Place, ...]:
    """All buckets that must have a token before an order is sent."""
    events = (Event.ORDER, Event.CERTIFICATE, Event.FAILED_AUTHORIZATION)
    return tuple(place for one in events for place in places(one, identifiers, renewal=renewal, ari=ari))


def admit(
    found: Mapping[Place, Bucket],
    plan: Mapping[Limit, Figure],
    identifiers: Sequence[Identifier],
    *,
    renewal: bool,
    ari: bool,
    now: datetime,
) -> Admitted | Queued:
    """Whether an order may be sent now.

    Args:
        found: the buckets that were ever used; also of limits that `plan` does not have, where the CA blocked one.
        plan: the figures of this CA.
        identifiers: what is ordered.
        renewal: as for `places`; renewals may take the last tokens, which new names leave to them.
        ari: as for `places`.
        now: of the question.
    """
    waits = []
    for place in (*wanted(identifiers, renewal=renewal, ari=ari), Place(Limit.REQUESTS)):
        bucket, figure = found.get(place), plan.get(place.limit)
        if bucket is not None and bucket.blocked_until is not None and bucket.blocked_until > now:
            waits.append(Queued(bucket.blocked_until, place.limit, f"the CA said so of {_words(place)}"))
        if figure is not None:
            # A failed validation is nothing that renewals would need to have reserved.
            shares = not renewal and place.limit is not Limit.FAILED_AUTHORIZATIONS
            reserved = figure.capacity / _RESERVED if shares else 0
            free = free_at(bucket, figure, now=now, reserved=reserved)
            if free > now:
                waits.append(Queued(free, place.limit, _used_up(place, figure, reserved=reserved)))
    return max(waits, key=lambda one: one.until) if waits else Admitted()


def names_digest(identifiers: Iterable[Identifier]) -> str:
    """What an exact set of names is kept under: the same for the same names in any order."""
    text = "\n".join(sorted({f"{one.type}:{one.value}" for one in identifiers}))
    return hashlib.sha256(text.encode()).hexdigest()


def domain(identifier: Identifier) -> str:
    """What certificates are counted under: the registered domain, the IPv4 address, or the site of an IPv6 address."""
    if identifier.type == "ip" and ip_address(identifier.value).version == 6:  # noqa: PLR2004  the protocol's name
        return str(IPv6Network((identifier.value, _SITE), strict=False))
    return names.registered_domain(identifier)


def authorized(identifier: Identifier) -> str:
    """What failed authorizations are counted under: the name itself, for a wildcard the one below which it is."""
    return identifier.value.removeprefix("*.")


# The words of Boulder's `ratelimits/limiter.go`; the second part of each link is that of its documentation.
_TEXTS: Sequence[tuple[re.Pattern[str], Limit]] = (
    (re.compile(r"too many new (?:registrations|accounts)"), Limit.NEW_ACCOUNTS),
    (re.compile(r"too many new orders"), Limit.NEW_ORDERS),
    (re.compile(r"too many certificates .*exact set"), Limit.EXACT_SET),
    (re.compile(r'too many certificates .*issued for "([^"]+)"'), Limit.REGISTERED_DOMAIN),
    (re.compile(r'too many failed authorizations .*for "([^"]+)"'), Limit.FAILED_AUTHORIZATIONS),
)


def limited(problem: Problem, identifiers: Sequence[Identifier]) -> Place:
    """Which bucket a CA means by the text of its rate limit; `REQUESTS` when it is none that we know.

    Args:
        problem: of type `rateLimited`.
        identifiers: what was ordered.
    """
    for pattern, limit in _TEXTS:
        if found := pattern.search(problem.detail):
            if limit is Limit.EXACT_SET:
                return Place(limit, names_digest(identifiers))
            return Place(limit, found[1].lower() if found.groups() else "")
    return Place(Limit.REQUESTS)


def _distinct(limit: Limit, subjects: Iterable[str]) -> tuple[Place, ...]:
    return tuple(Place(limit, subject) for subject in sorted(set(subjects)))


def _used_up(place: Place, figure: Figure, *, reserved: float) -> str:
    share = " that new names may use" if reserved else ""
    hours = figure.period / timedelta(hours=1)
    return f"{_words(place)} is used up: {figure.capacity - reserved:g} in {hours:g} h{share}"


def _words(place: Place) -> str:
    about = f" of {place.subject}" if place.subject and place.limit is not Limit.EXACT_SET else ""
    return f"the limit {place.limit.value}{about}"
