"""The ledger of rate limits: how full the buckets of each certificate authority are, kept in the database."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from lifecycle import clock
from lifecycle.certs.authorities import budget, store
from lifecycle.certs.authorities.budget import (
    LONGEST_PERIOD,
    PLANS,
    Admitted,
    Event,
    Figure,
    Limit,
    Place,
    Plan,
    Queued,
)
from lifecycle.certs.names import Identifier
from lifecycle.certs.verdicts import RateLimited
from lifecycle.db import Database

# Of the buckets of a CA, so many at most are looked at for people.
_MOST_SHOWN = 1000
# A step may run again long after it ran first; what it counted is remembered a day longer than it counts.
_REMEMBERED = LONGEST_PERIOD + timedelta(days=1)
# What counts for a whole account is shown although it is full.
_OF_ACCOUNT = (Limit.NEW_ACCOUNTS, Limit.NEW_ORDERS)


class Used(NamedTuple):
    """How full a bucket is.

    Attributes:
        figure: None for a limit that we do not count, and that the CA has blocked.
        left: whole tokens that can be taken now.
        full_at: when all are back; None when they are.
        blocked_until: when the CA lets it go on; None when it does not hold it back.
    """

    place: Place
    figure: Figure | None
    left: int
    full_at: datetime | None
    blocked_until: datetime | None

    @property
    def share(self) -> float:
        """How full it is, from 0 to 1; nothing is left of what is blocked."""
        return 0.0 if self.figure is None or self.blocked_until else self.left / self.figure.capacity


class Limits:
    """The ledger.

    Args:
        db: where it is kept.
        plans: whose figures hold for each CA.
    """

    def __init__(self, db: Database, plans: Mapping[str, Plan]) -> None:
        self._db = db
        self._figures = {ca: PLANS[plan] for ca, plan in plans.items()}

    async def admit(
        self, ca: str, identifiers: Sequence[Identifier], *, renewal: bool, ari: bool, now: datetime
    ) -> Admitted | Queued:
        """Whether the rate limits of a CA let an order through now.

        Args:
            ca: its name.
            identifiers: what would be ordered.
            renewal: the same names had a certificate before. New names leave a fifth of each limit to renewals.
            ari: it renews inside the window of the CA's renewal information, and says what it replaces.
            now: of the question.
        """
        figures = self._figures[ca]
        found = dict(await store.blocked(self._db, ca, now=now))
        wanted = budget.wanted(identifiers, renewal=renewal, ari=ari)
        if counted := [place for place in wanted if place.limit in figures]:
            found |= await store.buckets(self._db, ca, counted)
        return budget.admit(found, figures, identifiers, renewal=renewal, ari=ari, now=now)

    async def admit_account(self, ca: str, *, now: datetime) -> Queued | None:
        """When an account may be asked for; None when it may now."""
        place = Place(Limit.NEW_ACCOUNTS)
        figure = self._figures[ca].get(place.limit)
        bucket = (await store.buckets(self._db, ca, [place])).get(place)
        blocked = now if bucket is None or bucket.blocked_until is None else bucket.blocked_until
        free = now if figure is None else budget.free_at(bucket, figure, now=now)
        until = max(blocked, free)
        return Queued(until, place.limit, f"{ca} gives no more new accounts") if until > now else None

    async def spend(
        self,
        ca: str,
        event: Event,
        identifiers: Sequence[Identifier],
        *,
        reference: str,
        renewal: bool = False,
        ari: bool = False,
        now: datetime,
    ) -> None:
        """Take the tokens of an event, once for each reference."""
        figures = self._figures[ca]
        takes = {
            place: partial(budget.take, figure=figures[place.limit], now=now)
            for place in budget.places(event, identifiers, renewal=renewal, ari=ari)
            if place.limit in figures
        }
        if not takes:
            return
        await store.spend(self._db, ca, event, reference, takes, now=now)
        if event is Event.CERTIFICATE:
            await store.forget_spendings(self._db, before=now - _REMEMBERED)

    async def spend_order(
        self,
        ca: str,
        reference: str,
        identifiers: Sequence[Identifier],
        *,
        renewal: bool = False,
        ari: bool = False,
    ) -> None:
        """Count an order that was sent.

        Args:
            ca: its name.
            reference: what it is counted for, once, however often this is called: the issuance id, or the URL of the
                order where one issuance orders again.
            identifiers: what was ordered.
            renewal: as for `admit`.
            ari: as for `admit`.
        """
        await self.spend(ca, Event.ORDER, identifiers, reference=reference, renewal=renewal, ari=ari, now=clock.now())

    async def spend_certificate(
        self,
        ca: str,
        reference: str,
        identifiers: Sequence[Identifier],
        *,
        renewal: bool = False,
        ari: bool = False,
    ) -> None:
        """Count a certificate that was issued; arguments as for `spend_order`."""
        await self.spend(
            ca, Event.CERTIFICATE, identifiers, reference=reference, renewal=renewal, ari=ari, now=clock.now()
        )

    async def spend_failure(self, ca: str, identifier: Identifier, *, reference: str, ari: bool = False) -> None:
        """Count a validation that failed.

        Args:
            ca: its name.
            identifier: whose.
            reference: URL of the authorization, for which it is counted once.
            ari: as for `admit`.
        """
        await self.spend(ca, Event.FAILED_AUTHORIZATION, (identifier,), reference=reference, ari=ari, now=clock.now())

    async def block(self, ca: str, limit: Limit, subject: str, until: datetime) -> None:
        """Admit nothing against this limit before the CA does.

        Args:
            ca: its name.
            limit: which; `REQUESTS` blocks everything.
            subject: what it counts for, as `budget.places` has it; empty for the whole account.
            until: when the CA lets it go on.
        """
        figure = self._figures[ca].get(limit)
        full = 0 if figure is None else figure.capacity
        await store.block(self._db, ca, Place(limit, subject), full=full, until=until, now=clock.now())

    async def limited(self, ca: str, failure: RateLimited, identifiers: Sequence[Identifier], *, now: datetime) -> None:
        """Take in what a CA says of its limits. Which one it means follows from its words."""
        place = budget.limited(failure.problem, identifiers)
        if place.limit is not Limit.EXACT_SET or identifiers:
            await self.block(ca, place.limit, place.subject, failure.until or now + budget.UNSTATED_BLOCK)

    async def used(self, ca: str, *, now: datetime) -> Sequence[Used]:
        """The buckets that are not full, emptiest first, and those of the account."""
        figures = self._figures[ca]
        found = await store.used_buckets(self._db, ca, limit=_MOST_SHOWN)
        shown = [Place(limit) for limit in _OF_ACCOUNT if limit in figures and Place(limit) not in found]
        used = [_used(place, found.get(place), figures.get(place.limit), now) for place in (*found, *shown)]
        kept = [one for one in used if one.full_at or one.blocked_until or one.place.limit in _OF_ACCOUNT]
        return sorted(kept, key=lambda one: (one.share, one.place))

    def subjects(self, values: Iterable[str]) -> set[str]:
        """All that the buckets of a certificate with these names count under."""
        identifiers = [_identifier(value) for value in values]
        counted = {budget.names_digest(identifiers)}
        for one in identifiers:
            counted |= {budget.domain(one), budget.authorized(one)}
        return counted


def _used(place: Place, bucket: budget.Bucket | None, figure: Figure | None, now: datetime) -> Used:
    blocked = None if bucket is None or bucket.blocked_until is None or bucket.blocked_until <= now else bucket
    left = 0.0 if figure is None else budget.tokens(bucket, figure, now=now)
    full_at = None
    if bucket is not None and figure is not None and left < figure.capacity:
        # Counted from where it was last used, so that it is the same however often it is looked at.
        full_at = bucket.at + (figure.capacity - bucket.tokens) / figure.capacity * figure.period
    return Used(place, figure, int(left + budget.ROUNDING), full_at, blocked.blocked_until if blocked else None)


def _identifier(value: str) -> Identifier:
    # A host name has no colon, and no last label that is a number (certs.names).
    is_address = ":" in value or value.rpartition(".")[2].isdigit()
    return Identifier(type="ip" if is_address else "dns", value=value)
