"""The account at each certificate authority: made on first use, given another key, ended.

    key made, sealed, stored ──newAccount──> valid ──deactivate──> deactivated ──roll over──> another key, new account
                                             │   ^
           next key made, sealed, stored <───┘   └── keyChange done, next key is the key

A key is stored before the CA hears of it, so whatever crashes, the account can be opened: `newAccount` gives the
account that a key has (RFC 8555, section 7.3), and after `keyChange` the CA says which of both keys it knows.
"""

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lifecycle import clock
from lifecycle.certs import acme
from lifecycle.certs.acme import Binding, CertificateAuthority, Signer
from lifecycle.certs.authorities import store
from lifecycle.certs.authorities.budget import Event
from lifecycle.certs.authorities.limits import Limits
from lifecycle.certs.authorities.store import AccountRow
from lifecycle.certs.configuration import Authority
from lifecycle.certs.verdicts import Account, Failure, Problem, RateLimited, Refused, Unanswered
from lifecycle.db import Database
from lifecycle.errors import Code, LifecycleError
from lifecycle.vault import Vault

P = ParamSpec("P")
T = TypeVar("T")

NEW, VALID, DEACTIVATING, DEACTIVATED = "new", "valid", "deactivating", "deactivated"
_RATE_LIMITED = "urn:ietf:params:acme:error:rateLimited"
# The row may change under us as often as somebody else settles it; more than that is a defect.
_SETTLEMENTS = 5


class Run(Protocol):
    """Calls a blocking function in a thread."""

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of the function."""


class Opened(NamedTuple):
    """A CA by its name in the configuration, and our account at it, to ask it for something."""

    name: str
    ca: CertificateAuthority
    signer: Signer
    url: str


class Known(NamedTuple):
    """One CA as the configuration has it, and the client that talks to it."""

    authority: Authority
    ca: CertificateAuthority


class Accounts:
    """Our accounts.

    Args:
        db: where they are stored.
        vault: what seals their keys.
        run: how a blocking call is made.
        limits: counts new accounts, and says whether the CA would give one.
    """

    def __init__(self, db: Database, vault: Vault, run: Run, limits: Limits) -> None:
        self._db = db
        self._vault = vault
        self._run = run
        self._limits = limits

    async def opened(self, known: Known) -> Opened | Failure:
        """The account, which is made when there is none.

        Raises:
            LifecycleError: AUTHORITY_BINDING, AUTHORITY_ACCOUNT_DEACTIVATED.
        """
        row = await self._row(known)
        if row.status in (DEACTIVATING, DEACTIVATED):
            raise LifecycleError(Code.AUTHORITY_ACCOUNT_DEACTIVATED, authority=row.ca)
        if row.sealed_next_key is not None:
            settled = await self._settle(known, row)
            if not isinstance(settled, AccountRow):
                return settled
            row = settled
        if row.url is None:
            return await self._register(known, row)
        return Opened(row.ca, known.ca, Signer(self._open(row.sealed_key, row.ca), row.url), row.url)

    async def prepare_key(self, known: Known) -> Failure | None:
        """See to it that there is an account, and a key for it to come; a deactivated one begins anew with that key.

        Raises:
            LifecycleError: AUTHORITY_BINDING, AUTHORITY_ACCOUNT_DEACTIVATED when it is just being ended.
        """
        row = await self._row(known)
        if row.status == DEACTIVATED:
            await store.restart_account(self._db, row, sealed_key=self._new_key(row.ca), now=clock.now())
            opened = await self.opened(known)
            return None if isinstance(opened, Opened) else opened
        opened = await self.opened(known)
        if not isinstance(opened, Opened):
            return opened
        await store.set_next_key(self._db, row.ca, sealed_next_key=self._new_key(row.ca))
        return None

    async def change_key(self, known: Known) -> Account | Failure:
        """Have the CA take the next key, and make it the present one. Repeating it does no harm.

        Returns:
            The account under its present key, also when no key was to come.
        """
        row = await self._row(known)
        if row.sealed_next_key is not None:
            settled = await self._settle(known, row)
            if not isinstance(settled, AccountRow):
                return settled
            row = settled
        if row.url is None:
            return Unanswered(reason=f"{row.ca} has forgotten the account; it is made again with the next request")
        if row.sealed_next_key is None:
            return Account(url=row.url, status=row.status)
        signer = Signer(self._open(row.sealed_key, row.ca), row.url)
        next_key = self._open(row.sealed_next_key, row.ca)
        answer = await self._run(acme.roll_over, known.ca, signer, next_key)
        if isinstance(answer, Account):
            if not await store.promote_key(self._db, row, now=clock.now()):
                return await self._after_all(known)
            return answer
        if isinstance(answer, Refused):
            return await self._refused(known, row, answer)
        return answer

    async def deactivate(self, known: Known) -> Account | Failure:
        """End the account for ever. After a lost answer it is called again."""
        row = await self._row(known)
        if row.status == DEACTIVATED:
            return Account(url=row.url or "", status=DEACTIVATED)
        if row.status != DEACTIVATING:
            opened = await self.opened(known)
            if not isinstance(opened, Opened):
                return opened
            # Before the CA hears of it: once it is done, the CA says no more than that we are not known.
            await store.set_status(self._db, row.ca, status=DEACTIVATING)
            row = await self._row(known)
        signer = Signer(self._open(row.sealed_key, row.ca), row.url)
        answer = await self._run(acme.deactivate_account, known.ca, signer)
        if isinstance(answer, Refused) and answer.problem.kind in ("unauthorized", "accountDoesNotExist"):
            answer = Account(url=row.url or "", status=DEACTIVATED)
        if isinstance(answer, Account):
            await store.set_status(self._db, row.ca, status=DEACTIVATED)
        elif isinstance(answer, Refused):
            await store.set_status(self._db, row.ca, status=VALID)
        return answer

    async def is_valid(self, known: Known) -> bool | None:
        """Whether the CA knows the account by its present key, and as valid; None when it does not say."""
        row = await self._row(known)
        found = await self._run(acme.find_account, known.ca, Signer(self._open(row.sealed_key, row.ca)))
        if isinstance(found, Account):
            return found.status == VALID
        return False if isinstance(found, Refused) else None

    async def _row(self, known: Known) -> AccountRow:
        """The account's row; made when there is none, and moved when the configuration names another directory."""
        name, url = known.authority.name, known.authority.directory_url
        row = await store.account(self._db, name)
        if row is None:
            # Of two workers at once one stores its key, and both read that one back.
            sealed = self._new_key(name)
            await store.insert_account(self._db, ca=name, directory_url=url, sealed_key=sealed, now=clock.now())
            row = await store.account(self._db, name)
        if row is not None and row.directory_url != url:
            await store.move_account(self._db, row, directory_url=url)
            row = await store.account(self._db, name)
        if row is None:
            raise LookupError(f"the account at {name} vanished while it was opened")
        return row

    async def _register(self, known: Known, row: AccountRow) -> Opened | Failure:
        queued = await self._limits.admit_account(row.ca, now=clock.now())
        if queued is not None:
            return RateLimited(problem=Problem(type=_RATE_LIMITED, detail=queued.why), until=queued.until)
        signer = Signer(self._open(row.sealed_key, row.ca))
        contact, binding = known.authority.contact, _binding(known.authority)
        made = await self._run(acme.new_account, known.ca, signer, contact=contact, binding=binding)
        if not isinstance(made, Account):
            if isinstance(made, Refused) and made.problem.kind == "externalAccountRequired":
                raise _no_binding(known.authority, "the CA requires it, and none is configured")
            return made
        # Counted once for each account, also when two workers asked, or the first answer was lost.
        await self._limits.spend(row.ca, Event.ACCOUNT, (), reference=made.url, now=clock.now())
        await store.set_url(self._db, row, url=made.url, status=made.status)
        if made.status != VALID:
            raise LifecycleError(Code.AUTHORITY_ACCOUNT_DEACTIVATED, authority=row.ca)
        return Opened(row.ca, known.ca, Signer(signer.key, made.url), made.url)

    async def _settle(self, known: Known, row: AccountRow) -> AccountRow | Failure:
        """The row, once it is certain which key the CA knows: with a next key only if that one is not known yet."""
        for _ in range(_SETTLEMENTS):
            if row.sealed_next_key is None:
                return row
            next_key = self._open(row.sealed_next_key, row.ca)
            found = await self._run(acme.find_account, known.ca, Signer(next_key))
            if isinstance(found, Refused) and found.problem.kind == "accountDoesNotExist":
                return row
            if not isinstance(found, Account):
                return found
            # When somebody else was faster, or the row was sealed anew meanwhile, look again.
            await store.promote_key(self._db, row, now=clock.now())
            row = await self._row(known)
        return Unanswered(reason=f"the key of the account at {row.ca} changes all the time")

    async def _after_all(self, known: Known) -> Account | Failure:
        """What became of a change whose row was changed by somebody else."""
        settled = await self._settle(known, await self._row(known))
        if not isinstance(settled, AccountRow):
            return settled
        return Account(url=settled.url or "", status=settled.status)

    async def _refused(self, known: Known, row: AccountRow, refused: Refused) -> Account | Failure:
        """What a refused change means: it may have been made by an earlier call whose answer was lost."""
        settled = await self._settle(known, row)
        if not isinstance(settled, AccountRow):
            return settled
        if settled.sealed_next_key is None and settled.url is not None:
            return Account(url=settled.url, status=settled.status)
        if refused.problem.kind == "accountDoesNotExist" and row.url is not None:
            await store.forget_url(self._db, row.ca, url=row.url)
        # A key that is refused for good must not stand in the way of the next attempt.
        await store.drop_next_key(self._db, settled)
        return refused

    def _new_key(self, ca: str) -> str:
        """A fresh P-256 key, sealed."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._vault.seal(pem, bound_to=bound_to(ca))

    def _open(self, sealed: str, ca: str) -> bytes:
        return self._vault.open(sealed, bound_to=bound_to(ca))


def bound_to(ca: str) -> str:
    """What the keys of an account are sealed for."""
    return f"acme-account:{ca}"


def _binding(authority: Authority) -> Binding | None:
    """The binding, its key read from the file now, so that a new one needs no restart."""
    if authority.binding is None:
        return None
    file = authority.binding.hmac_key_file
    try:
        secret = file.read_text(encoding="utf-8").strip()
        return Binding(authority.binding.key_id, secret, authority.binding.algorithm)
    except OSError as error:
        raise _no_binding(authority, f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _no_binding(authority, f"{file}: {error}") from error


def _no_binding(authority: Authority, problem: str) -> LifecycleError:
    return LifecycleError(Code.AUTHORITY_BINDING, authority=authority.name, problem=problem)
