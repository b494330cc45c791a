"""The certificate authorities of the configuration: what each offers, our account there, whether it may be asked."""

import asyncio
import contextvars
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, ParamSpec, TypeVar
from urllib.parse import urlsplit

from lifecycle import clock
from lifecycle.certs import names
from lifecycle.certs.acme import CertificateAuthority
from lifecycle.certs.acme.wire import verdict
from lifecycle.certs.authorities import store
from lifecycle.certs.authorities.accounts import Accounts, Known, Opened
from lifecycle.certs.authorities.breaker import Breaker
from lifecycle.certs.authorities.health import Health, unknown
from lifecycle.certs.authorities.limits import Limits, Used
from lifecycle.certs.authorities.store import AccountRow
from lifecycle.certs.configuration import Authority, Certificates
from lifecycle.certs.names import Offer
from lifecycle.certs.verdicts import Account, Directory, Failure, RateLimited, Refused, Unanswered
from lifecycle.db import Database
from lifecycle.errors import Code, LifecycleError
from lifecycle.vault import Vault

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 16
_LETS_ENCRYPT = "letsencrypt.org"
# Of a profile of Let's Encrypt that is newer than this release: what all of its newer ones have in common.
_NEWER_PROFILE = Offer(most_names=25)

_directory = verdict(CertificateAuthority.directory)


class Terms(NamedTuple):
    """What an order at a CA may be.

    Attributes:
        profile: to send with the order; None leaves it to the CA.
    """

    directory: Directory
    profile: str | None
    offer: Offer


class Standing(NamedTuple):
    """How a CA stands, for people.

    Attributes:
        account: None before the first use.
    """

    authority: Authority
    breaker: Breaker
    account: AccountRow | None


class Authorities:
    """All of them. One for each process, since it keeps connections to the CAs.

    Args:
        configuration: which there are, in order of preference.
        db: what is remembered of them.
        vault: what seals the keys of our accounts.

    Attributes:
        pick: the CA to order at; see `Health.pick`.
        report: how a request to a CA went; see `Health.report`.
        admit: whether its rate limits let an order through; see `Limits.admit`.
        block: what the CA itself said of a limit; see `Limits.block`.
        spend_order: an order was sent; see `Limits.spend_order`.
        spend_certificate: a certificate was issued; see `Limits.spend_certificate`.
        spend_failure: a validation failed; see `Limits.spend_failure`.
    """

    def __init__(self, configuration: Certificates, db: Database, vault: Vault) -> None:
        self._known: Mapping[str, Known] = MappingProxyType(
            {
                one.name: Known(one, CertificateAuthority(one.directory_url, trust=one.trust_file))
                for one in configuration.authority
            }
        )
        self._db = db
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="acme")
        self._limits = Limits(db, {one.name: one.plan for one in configuration.authority})
        self._accounts = Accounts(db, vault, self.run, self._limits)
        health = Health(self._known, db, self._accounts, self._limits)
        self.pick, self.report = health.pick, health.report
        self.admit, self.block = self._limits.admit, self._limits.block
        self.spend_order = self._limits.spend_order
        self.spend_certificate = self._limits.spend_certificate
        self.spend_failure = self._limits.spend_failure

    def close(self) -> None:
        """Close the connections, and let no further call begin."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for known in self._known.values():
            known.ca.close()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a function that blocks, from one of sixteen threads that are kept for the CAs."""
        call = partial(contextvars.copy_context().run, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def configured(self, ca: str) -> Authority:
        """What the configuration says of a CA.

        Raises:
            LifecycleError: AUTHORITY_UNKNOWN.
        """
        return self._find(ca).authority

    def authority(self, ca: str) -> CertificateAuthority:
        """The client that talks to a CA; raises as `configured` does."""
        return self._find(ca).ca

    def default_profile(self, ca: str) -> str | None:
        """The profile that is asked for unless a request names one; raises as `configured` does."""
        return self._find(ca).authority.profile

    def preferred_chain(self, ca: str) -> str | None:
        """Common name of the issuer whose chain is taken, of several; raises as `configured` does."""
        return self._find(ca).authority.preferred_chain

    @property
    def names(self) -> Sequence[str]:
        """The names of all, in order of preference; those for rehearsals as well."""
        return tuple(self._known)

    async def check(self, ca: str, profile: str | None) -> Terms:
        """What an order at this CA may be, before anything is ordered.

        Args:
            ca: its name in the configuration.
            profile: that is wanted; None takes the one of the configuration.

        Raises:
            LifecycleError: AUTHORITY_UNKNOWN, AUTHORITY_NOT_ACME, AUTHORITY_UNAVAILABLE, CERTIFICATE_PROFILE_UNKNOWN.
        """
        authority = self._find(ca).authority
        directory = await self.directory(ca)
        chosen = names.profile(profile or authority.profile, directory.profiles)
        return Terms(directory, chosen, offered(authority, chosen))

    async def offer(self, ca: str, profile: str | None) -> Offer:
        """What this CA gives under a profile; raises as `check` does."""
        return (await self.check(ca, profile)).offer

    async def directory(self, ca: str) -> Directory:
        """The directory of a CA, at most an hour old.

        Raises:
            LifecycleError: AUTHORITY_UNKNOWN, AUTHORITY_NOT_ACME, AUTHORITY_UNAVAILABLE.
        """
        known = self._find(ca)
        match await self.run(_directory, known.ca):
            case Directory() as found:
                return found
            case Refused(problem=problem):
                raise _not_acme(ca, problem.summary)
            case Unanswered(foreign=True, reason=reason):
                raise _not_acme(ca, reason)
            case Unanswered(reason=reason):
                raise unavailable(ca, reason)
            case RateLimited(problem=problem):
                raise unavailable(ca, problem.summary)

    async def opened(self, ca: str) -> Opened | Failure:
        """The CA and our account there, made on first use.

        Returns:
            A failure when the CA does not give the account; it means what such failures mean elsewhere.

        Raises:
            LifecycleError: AUTHORITY_UNKNOWN, AUTHORITY_BINDING, AUTHORITY_ACCOUNT_DEACTIVATED.
        """
        return await self._accounts.opened(self._find(ca))

    async def forget_account(self, ca: str, url: str) -> None:
        """Have the next `opened` register anew, with the same key: the CA says that it has no such account.

        Args:
            ca: its name.
            url: of the account that is gone; when another one is known already, nothing happens.
        """
        await store.forget_url(self._db, ca, url=url)

    async def prepare_key(self, ca: str) -> Failure | None:
        """First step of a rollover: the next key is made and stored. Repeating it does no harm."""
        return await self._accounts.prepare_key(self._find(ca))

    async def change_key(self, ca: str) -> Account | Failure:
        """Second step of a rollover: the CA takes the next key, which becomes ours. Repeating it does no harm."""
        return await self._accounts.change_key(self._find(ca))

    async def deactivate(self, ca: str) -> Account | Failure:
        """End our account at a CA for ever. Repeating it does no harm."""
        return await self._accounts.deactivate(self._find(ca))

    async def budgets(self, ca: str, *, workspace: str | None = None) -> Sequence[Used]:
        """How full the buckets of a CA are, emptiest first; those that are full are left out, but for the account's.

        Args:
            ca: its name.
            workspace: only those of names in its certificates, and those that count for all; None shows all.
        """
        self._find(ca)
        used = await self._limits.used(ca, now=clock.now())
        if workspace is None or not any(one.place.subject for one in used):
            return used
        subjects: set[str] = set()
        for text in await store.names_of_workspace(self._db, workspace):
            subjects |= self._limits.subjects(json.loads(text))
        return [one for one in used if not one.place.subject or one.place.subject in subjects]

    async def rehearsed(self, ca: str, names_digest: str) -> bool:
        """Whether these names were issued at the staging authority of this CA.

        Args:
            ca: the CA whose first order was rehearsed, not the staging authority.
            names_digest: by `budget.names_digest`.
        """
        return await store.rehearsed(self._db, ca, names_digest)

    async def note_rehearsal(self, ca: str, domain: str, names_digest: str) -> None:
        """Note that they were, for the certificate of this domain."""
        await store.insert_rehearsal(self._db, ca=ca, domain=domain, names_digest=names_digest, now=clock.now())

    async def standings(self) -> Sequence[Standing]:
        """How each CA stands, in order of preference."""
        breakers, accounts = await store.breakers(self._db), await store.accounts(self._db)
        return [
            Standing(known.authority, breakers.get(name, Breaker()), accounts.get(name))
            for name, known in self._known.items()
        ]

    def _find(self, ca: str) -> Known:
        if ca not in self._known:
            raise unknown(ca, self._known)
        return self._known[ca]


def unavailable(ca: str, problem: str) -> LifecycleError:
    """The answer to a request that needed the CA."""
    return LifecycleError(Code.AUTHORITY_UNAVAILABLE, authority=ca, problem=problem, retry_after_seconds="60")


def _not_acme(ca: str, problem: str) -> LifecycleError:
    return LifecycleError(Code.AUTHORITY_NOT_ACME, authority=ca, problem=problem)


def offered(authority: Authority, profile: str | None) -> Offer:
    """What a CA gives: Let's Encrypt by its documentation, all others as the configuration says."""
    host = urlsplit(authority.directory_url).hostname or ""
    if host == _LETS_ENCRYPT or host.endswith(f".{_LETS_ENCRYPT}"):
        return names.LETS_ENCRYPT.get(profile or "classic", _NEWER_PROFILE)
    return Offer(addresses=authority.addresses, internal=authority.internal)
