"""Which certificate authority to ask: the circuit breakers, kept in the database."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle import clock
from lifecycle.certs import problems
from lifecycle.certs.authorities import breaker, store
from lifecycle.certs.authorities.accounts import DEACTIVATED, DEACTIVATING, Accounts, Known
from lifecycle.certs.authorities.breaker import Breaker, Closed, Gate, Picked
from lifecycle.certs.authorities.limits import Limits
from lifecycle.certs.names import Identifier
from lifecycle.certs.problems import About, Meaning
from lifecycle.certs.verdicts import Failure, RateLimited, Refused, Unanswered
from lifecycle.db import Database
from lifecycle.errors import Code, LifecycleError

_log = logging.getLogger(__name__)
_DEACTIVATED = "our account there was deactivated"


class Reported(NamedTuple):
    """What a failure was, after the CA was asked once more where that helps.

    Attributes:
        meaning: None when all went well.
        alarm: for people, when our account is in trouble and nothing is ordered there for an hour.
    """

    meaning: Meaning | None
    alarm: str | None = None


class Health:
    """What is remembered of how each CA works.

    Args:
        known: all of them, in order of preference.
        db: where it is kept.
        accounts: ours, which tell whether a CA means the account by its refusal.
        limits: what a CA says of them is taken in.
    """

    def __init__(self, known: Mapping[str, Known], db: Database, accounts: Accounts, limits: Limits) -> None:
        self._known = known
        self._order = tuple(name for name, one in known.items() if not one.authority.rehearsal_only)
        self._db = db
        self._accounts = accounts
        self._limits = limits

    async def pick(
        self,
        preferred: str | None,
        *,
        now: datetime,
        remaining_seconds: float | None,
        lifetime_seconds: float | None = None,
    ) -> Picked | Closed:
        """The CA to order at.

        Args:
            preferred: name of the one that is wanted. Others are taken instead only while it does not work, and then
                only when there is no certificate yet, or less than a fifth of its life is left.
            now: of the question.
            remaining_seconds: how long the present certificate is still valid; None when there is none.
            lifetime_seconds: of the present certificate; None takes 90 days.

        Returns:
            `Closed` when none is to be asked now.

        Raises:
            LifecycleError: AUTHORITY_UNKNOWN, also for one that is there for rehearsals only; AUTHORITIES_MISSING.
        """
        if not self._order:
            raise LifecycleError(Code.AUTHORITIES_MISSING)
        if preferred is not None and preferred not in self._order:
            raise unknown(preferred, self._order)
        remaining = None if remaining_seconds is None else timedelta(seconds=remaining_seconds)
        lifetime = breaker.USUAL_LIFETIME if lifetime_seconds is None else timedelta(seconds=lifetime_seconds)
        while True:
            breakers = await self._breakers(now)
            picked = breaker.pick(self._order, breakers, preferred, now=now, remaining=remaining, lifetime=lifetime)
            if isinstance(picked, Closed) or await self._may_pass(picked.ca, breakers, now):
                return picked

    async def report(
        self,
        ca: str,
        failure: Failure | None,
        about: About = About.REQUEST,
        *,
        replaces: bool = False,
        identifiers: Sequence[Identifier] = (),
    ) -> Reported:
        """Tell how a request to a CA went; its breaker and its rate limits follow from it.

        Args:
            ca: its name.
            failure: what it answered; None when all went well.
            about: what was asked.
            replaces: whether it was a new order that names the certificate which it replaces.
            identifiers: what was ordered; some rate limits say only that it is "this exact set".

        Returns:
            What it means. A refusal of our account that has healed by now, or was not meant so, is transient.
        """
        known = self._known[ca]
        if failure is None and (await store.breakers(self._db)).get(ca, Breaker()) == Breaker():
            return Reported(None)  # nothing to forget, and nothing to write for each good answer
        now = clock.now()
        meaning = None if failure is None else problems.meaning(failure, about=about, replaces=replaces)
        if isinstance(failure, RateLimited) and meaning is Meaning.WAIT:
            await self._limits.limited(ca, failure, identifiers, now=now)
        has_forgotten = False
        if isinstance(failure, Refused) and meaning is Meaning.ACCOUNT:
            has_forgotten = await self._has_forgotten(known, failure)
            meaning = (
                Meaning.ACCOUNT if not has_forgotten and await self._is_meant(known, failure) else Meaning.TRANSIENT
            )
        error = "" if failure is None else _reason(failure)

        def change(before: Breaker) -> Breaker | None:
            # A CA that has only forgotten us works, and gets its account with the next request.
            after = before.after(Meaning.GO_ON if has_forgotten else meaning, now=now, error=error)
            return None if after == before else after

        await store.change_breaker(self._db, ca, change, now=now)
        if meaning is not Meaning.ACCOUNT:
            return Reported(meaning)
        alarm = f"{ca} does not accept our account: {error}. Nothing is ordered there for an hour."
        _log.error("alarm kind=authority_account subject=%s %s", ca, alarm)
        return Reported(meaning, alarm)

    async def _breakers(self, now: datetime) -> Mapping[str, Breaker]:
        """The breakers, and one that is open for each CA where our account was ended on purpose."""
        found = dict(await store.breakers(self._db))
        for name, row in (await store.accounts(self._db)).items():
            if row.status in (DEACTIVATING, DEACTIVATED):
                found[name] = Breaker(open_until=now + breaker.ACCOUNT_PAUSE, last_error=_DEACTIVATED)
        return found

    async def _has_forgotten(self, known: Known, failure: Refused) -> bool:
        """Whether the CA says that it does not have our account; then it is made again by the next `opened`."""
        if failure.problem.kind != "accountDoesNotExist":
            return False
        row = await store.account(self._db, known.authority.name)
        if row is not None and row.url is not None:
            await store.forget_url(self._db, row.ca, url=row.url)
        return True

    async def _is_meant(self, known: Known, failure: Refused) -> bool:
        """Whether it is the account that a CA refuses.

        It may have been asked with a key that was just being replaced, or for an order of another account.
        """
        return failure.problem.kind != "unauthorized" or await self._accounts.is_valid(known) is False

    async def _may_pass(self, ca: str, breakers: Mapping[str, Breaker], now: datetime) -> bool:
        """Whether a CA may be asked: through a half-open breaker only one caller gets."""
        if breakers.get(ca, Breaker()).gate(now) is Gate.CLOSED:
            return True

        def change(before: Breaker) -> Breaker | None:
            return before.probed(now) if before.gate(now) is Gate.HALF_OPEN else None

        return await store.change_breaker(self._db, ca, change, now=now) is not None


def unknown(ca: str, known: Iterable[str]) -> LifecycleError:
    """The answer to a request for a CA that is not there."""
    return LifecycleError(Code.AUTHORITY_UNKNOWN, authority=ca[:60], authorities=", ".join(known) or "none")


def _reason(failure: Failure) -> str:
    return failure.reason if isinstance(failure, Unanswered) else failure.problem.summary
