"""The steps of an issuance that ask the CA: order, finalize. Each may be repeated at any point.

What an issuance needs is in its row of `acme_orders`, the sealed key included; only verdicts are returned.
"""

import asyncio
import contextlib
from datetime import timedelta
from typing import TypedDict

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lifecycle import clock, resources
from lifecycle.certs import acme, orders_store, problems, store, verification
from lifecycle.certs.authorities import Closed, Opened, Queued, names_digest
from lifecycle.certs.model import Assignment, Ending, Outcome, Version
from lifecycle.certs.orders_store import OrderRow
from lifecycle.certs.problems import About, Meaning
from lifecycle.certs.verdicts import Account, Chain, Failure, Order, Orders, Refused, RenewalInfo, Unanswered
from lifecycle.errors import LifecycleError
from lifecycle.models import Durable

# What is ready within this needs no durable sleep; the CA is asked again after each of these pauses, in seconds.
LOOKS = (0.03, 0.06, 0.12, 0.25, 0.5)
# What the CA wants us to wait longer for is waited for durably.
_LONG = timedelta(seconds=1)
_OVER = ("valid", "invalid")
_PAGES = 500  # no list is read for ever


class Asked(Durable):
    """What became of a step.

    Attributes:
        ca: whom it asked, where it chose that itself.
        failure: that the CA answered with, if it did.
        over: how the issuance ends by it.
    """

    ca: str = ""
    failure: Failure | None = None
    about: About = About.REQUEST
    over: Outcome | None = None


class Ordered(Asked):
    """What an issuance has at an authority.

    Attributes:
        order: as it is now.
        version: what it has brought already; then there is nothing to order.
        rehearse_at: the staging authority where these names have to be ordered first.
    """

    order: Order | None = None
    version: Version | None = None
    rehearse_at: str | None = None


class Kept(Asked):
    """The certificate, verified and stored; or the order, when it has none yet, or none that is kept."""

    order: Order | None = None
    version: Version | None = None


class Advice(Durable):
    """The CA's renewal window, when it has one."""

    window: RenewalInfo | None = None
    failure: Failure | None = None


async def order(assignment: Assignment) -> Ordered:
    """Choose the authority, and order the certificate there.

    What was ordered before stays; an authority that does not work is left for the next best before that.
    """
    available = resources.current()
    row = await orders_store.find_order(available.db, assignment.issuance)
    if row is not None and not row.sealed_key:
        stored = await store.find_version(available.db, assignment.issuance)
        return Ordered(ca=row.ca, version=stored.version) if stored else Ordered(over=_given_up(row.ca))
    if row is not None and row.url is not None:
        return await _order_at(assignment, row.ca, row)
    now = clock.now()
    picked = await available.authorities.pick(
        row.ca if row else assignment.wish.ca,
        now=now,
        remaining_seconds=assignment.remaining_seconds,
        lifetime_seconds=assignment.lifetime_seconds,
    )
    if isinstance(picked, Closed):
        return Ordered(over=Outcome(ending=Ending.WAIT, message=picked.why, until=picked.until))
    if row is None or row.ca != picked.ca:
        identifiers = assignment.wish.identifiers
        admitted = await available.authorities.admit(
            picked.ca, identifiers, now=now, **_exemption(assignment, picked.ca)
        )
        if isinstance(admitted, Queued):
            waiting = Outcome(ending=Ending.WAIT, message=admitted.why, ca=picked.ca, until=admitted.until)
            return Ordered(ca=picked.ca, over=waiting)
    if (staging := await _rehearsal(assignment, picked.ca)) is not None:
        return Ordered(ca=picked.ca, rehearse_at=staging)
    return await _order_at(assignment, picked.ca, row)


async def order_at(assignment: Assignment, ca: str) -> Ordered:
    """Order the certificate at this authority and no other, as for a rehearsal."""
    row = await orders_store.find_order(resources.current().db, assignment.issuance)
    return await _order_at(assignment, ca, row)


async def finalize(assignment: Assignment, ca: str, order: Order, *, keep: bool) -> Kept:
    """Have the certificate made for the sealed key, wait a moment for it, verify it, and store it as a new version.

    Args:
        assignment: the issuance.
        ca: the authority.
        order: as it was when it was last seen.
        keep: whether the certificate is downloaded and stored; that of a rehearsal is not.
    """
    available = resources.current()
    row = await orders_store.the_order(available.db, assignment)
    if not row.sealed_key:  # the certificate has it, since this step has run before
        stored = await store.find_version(available.db, assignment.issuance)
        return Kept(version=stored.version) if stored else Kept(over=_given_up(ca))
    opened = await available.authorities.opened(ca)
    if not isinstance(opened, Opened):
        return Kept(failure=await reported(ca, opened, About.REQUEST))
    key = available.vault.open(row.sealed_key, bound_to=_certificate(assignment.issuance))
    found = await _finalized(opened, assignment, order, key)
    if not isinstance(found, Order):
        return Kept(failure=await reported(ca, found, About.ORDER), about=About.ORDER)
    if found.status != "valid" or found.certificate is None or not keep:
        return Kept(order=found)
    chain = await _download(opened, ca, found.certificate)
    if not isinstance(chain, Chain):
        return Kept(failure=await reported(ca, chain, About.ORDER))
    return await _keep(assignment, ca, chain.pem, key)


async def note_rehearsal(assignment: Assignment, ca: str, staging: str) -> None:
    """These names were issued at the staging authority; that certificate is of no use."""
    available = resources.current()
    digest = names_digest(assignment.wish.identifiers)
    await available.authorities.note_rehearsal(ca, assignment.domain, digest)
    await available.authorities.report(staging, None)
    await orders_store.end_order(available.db, assignment.issuance, "rehearsed", clock.now())


async def read_window(ca: str, certificate_id: str) -> Advice:
    """The CA's renewal window of a certificate (RFC 9773); asked without an account."""
    available = resources.current()
    authority = available.authorities.authority(ca)
    found = await available.authorities.run(acme.read_renewal_info, authority, certificate_id)
    return Advice(window=found) if isinstance(found, RenewalInfo) else Advice(failure=found)


async def give_up(assignment: Assignment, ca: str) -> None:
    """Nothing more can come of the order: let go of what it still has pending, so that it counts for nothing."""
    available = resources.current()
    row = await orders_store.find_order(available.db, assignment.issuance)
    opened = None
    if row is not None and row.url is not None:
        with contextlib.suppress(LifecycleError):  # no account any more: nothing of it is pending either
            opened = await available.authorities.opened(ca)
    if row is not None and row.url is not None and isinstance(opened, Opened):
        order = await available.authorities.run(acme.read_order, opened.ca, opened.signer, row.url)
        for url in order.authorizations if isinstance(order, Order) and order.status == "pending" else ():
            await available.authorities.run(acme.deactivate_authorization, opened.ca, opened.signer, url)
    await orders_store.end_order(available.db, assignment.issuance, "invalid", clock.now())


async def _order_at(assignment: Assignment, ca: str, row: OrderRow | None) -> Ordered:
    """Order at this authority; the order that was sent before stays, also when its answer was lost."""
    available = resources.current()
    opened = await available.authorities.opened(ca)
    if not isinstance(opened, Opened):
        return Ordered(ca=ca, failure=await reported(ca, opened, About.REQUEST))
    # Before the CA is asked; so one that is there for this CA already may have been sent.
    was_sent = row is not None and row.ca == ca
    if row is None or row.url is None:
        sealed = row.sealed_key if row else available.vault.seal(_new_key(), bound_to=_certificate(assignment.issuance))
        row = await orders_store.begin_order(
            available.db, assignment, ca=ca, account_url=opened.url, sealed_key=sealed, now=clock.now()
        )
    if row.url is not None and row.account_url != opened.url:
        why = "The account that ordered it is gone."
        return Ordered(ca=ca, over=Outcome(ending=Ending.INVALID, message=why, ca=ca))
    url = row.url or (await _lost_order(opened, assignment) if was_sent else None)
    if isinstance(url, Failure):
        return Ordered(ca=ca, failure=await reported(ca, url, About.REQUEST))
    if url is not None:
        found = await available.authorities.run(acme.read_order, opened.ca, opened.signer, url)
    else:
        found = await _new_order(opened, assignment)
    if not isinstance(found, Order):
        about = About.ORDER if url else About.REQUEST
        return Ordered(ca=ca, failure=await reported(ca, found, about), about=about)
    if row.url is None:
        await orders_store.set_order_url(available.db, assignment.issuance, found.url)
        await available.authorities.spend_order(
            ca, assignment.issuance, assignment.wish.identifiers, **_exemption(assignment, ca)
        )
    return Ordered(ca=ca, order=found)


async def _finalized(opened: Opened, assignment: Assignment, order: Order, key: bytes) -> Order | Failure:
    """The order, once the CA has made the certificate, or has not within a moment."""
    if order.status != "ready":
        return await _polled(opened, order.url)
    request = verification.signing_request(assignment.wish.identifiers, key)
    found = await resources.current().authorities.run(acme.finalize, opened.ca, opened.signer, order, request)
    # "Not ready" is also what a second one is told whose first answer was lost: the order itself says which it is.
    is_told = not isinstance(found, Order) and problems.meaning(found, about=About.ORDER) is not Meaning.GO_ON
    is_over = isinstance(found, Order) and found.status in _OVER
    return found if is_told or is_over else await _polled(opened, order.url)


async def _keep(assignment: Assignment, ca: str, chain: str, key: bytes) -> Kept:
    """Verify that a certificate is the one that was ordered, and store it as a new version.

    Args:
        assignment: the issuance.
        ca: the authority.
        chain: PEM of the certificate and its issuers.
        key: PEM of its private key.
    """
    available, now = resources.current(), clock.now()
    verdict = verification.verify(chain, key_pem=key, identifiers=assignment.wish.identifiers, now=now)
    if isinstance(verdict, verification.Mismatched):
        why = f"The CA issued something else than was ordered: {' '.join(verdict.faults)}"
        return Kept(over=Outcome(ending=Ending.MISMATCHED, message=why, ca=ca))
    version = Version(
        id=_certificate(assignment.issuance),
        number=assignment.number,
        ca=ca,
        serial=verdict.serial,
        issuer=verification.issuer(chain),
        certificate_id=verdict.certificate_id,
        life=verdict.life,
        key_digest=verification.key_digest(key),
        issued_at=now,
        cause=assignment.cause,
    )
    kept = await store.insert_version(available.db, assignment, version, chain, now)
    if kept is None:
        return Kept(over=Outcome(ending=Ending.MISMATCHED, message="Its key was disclosed once.", ca=ca))
    await available.authorities.report(ca, None)
    await available.authorities.spend_certificate(
        ca, assignment.issuance, assignment.wish.identifiers, **_exemption(assignment, ca)
    )
    return Kept(version=kept)


async def _rehearsal(assignment: Assignment, ca: str) -> str | None:
    """The staging authority where these names have to be ordered before they are at this one."""
    authorities = resources.current().authorities
    staging = authorities.configured(ca).staging
    if staging is None or await authorities.rehearsed(ca, names_digest(assignment.wish.identifiers)):
        return None
    return staging


async def _new_order(opened: Opened, assignment: Assignment) -> Order | Failure:
    available = resources.current()
    replaces = assignment.replaces if assignment.former_ca == opened.name else None
    profile = assignment.wish.profile or available.authorities.default_profile(opened.name)
    for replaced in (replaces, None):
        found = await available.authorities.run(
            acme.new_order,
            opened.ca,
            opened.signer,
            assignment.wish.identifiers,
            profile=profile,
            replaces=replaced,
        )
        if isinstance(found, Order) or replaced is None:
            return found
        meaning = problems.meaning(found, about=About.REQUEST, replaces=True)
        if meaning is not Meaning.WITHOUT_REPLACES:
            return found
    raise AssertionError("unreachable")


async def _lost_order(opened: Opened, assignment: Assignment) -> str | Failure | None:
    """The order whose answer was lost, when the CA keeps a list; others give the same order again (Boulder).

    Returns:
        A failure when the CA does not say now: another order would then perhaps be a second one.
    """
    available = resources.current()
    account = await available.authorities.run(acme.read_account, opened.ca, opened.signer)
    if not isinstance(account, Account) or account.orders is None:
        return _passing(account)
    urls = await _listed_orders(opened, account.orders)
    if not isinstance(urls, list):
        return _passing(urls)
    ours = await orders_store.known_orders(available.db, urls)
    wanted = set(assignment.wish.identifiers)
    for url in urls:
        if url in ours:
            continue
        found = await available.authorities.run(acme.read_order, opened.ca, opened.signer, url)
        if (failure := _passing(found)) is not None:
            return failure
        is_open = isinstance(found, Order) and found.status in ("pending", "ready")
        if isinstance(found, Order) and is_open and set(found.identifiers) == wanted:
            return url
    return None


async def _listed_orders(opened: Opened, url: str) -> list[str] | Failure:
    """The orders in the account's list, the last ones first; Pebble begins with the oldest, three on a page."""
    urls: list[str] = []
    page: str | None = url
    for _ in range(_PAGES):
        if page is None:
            break
        listed = await resources.current().authorities.run(acme.read_orders, opened.ca, opened.signer, page)
        if not isinstance(listed, Orders):
            return listed
        urls += listed.urls
        page = listed.next
    return urls[::-1]


def _passing(answer: object) -> Failure | None:
    """The answer, when it is a failure that says nothing about what was asked for."""
    if not isinstance(answer, Failure):
        return None
    meaning = problems.meaning(answer, about=About.REQUEST)
    return answer if meaning in (Meaning.WAIT, Meaning.TRANSIENT, Meaning.GO_ON) else None


async def _download(opened: Opened, ca: str, url: str) -> Chain | Failure:
    """The certificate, with the chain that the configuration prefers."""
    available = resources.current()
    first = await available.authorities.run(acme.download, opened.ca, opened.signer, url)
    preferred = available.authorities.preferred_chain(ca)
    if preferred is None or not isinstance(first, Chain) or verification.is_issued_under(first.pem, preferred):
        return first
    for alternate in first.alternates:
        other = await available.authorities.run(acme.download, opened.ca, opened.signer, alternate)
        if isinstance(other, Chain) and verification.is_issued_under(other.pem, preferred):
            return other
    return first


async def _polled(opened: Opened, url: str) -> Order | Failure:
    for pause in LOOKS:
        found = await resources.current().authorities.run(acme.read_order, opened.ca, opened.signer, url)
        is_early = isinstance(found, Order) and found.retry_at is not None and found.retry_at > clock.now() + _LONG
        if not isinstance(found, Order) or found.status in _OVER or is_early:
            return found
        await asyncio.sleep(pause)
    return await resources.current().authorities.run(acme.read_order, opened.ca, opened.signer, url)


async def reported(ca: str, failure: Failure, about: About) -> Failure:
    """Tell how a request went; what only seemed to be about our account comes back as something to try again."""
    told = await resources.current().authorities.report(ca, failure, about)
    is_about_account = problems.meaning(failure, about=about) is Meaning.ACCOUNT
    if isinstance(failure, Refused) and is_about_account and told.meaning is Meaning.TRANSIENT:
        return Unanswered(reason=failure.problem.summary)
    return failure


def _given_up(ca: str) -> Outcome:
    """The end of an issuance whose key is destroyed."""
    return Outcome(ending=Ending.INVALID, message="The order was given up.", ca=ca)


class _Exemption(TypedDict):
    renewal: bool
    ari: bool


def _exemption(assignment: Assignment, ca: str) -> _Exemption:
    """What rate limits ask of an order: whether it renews, and whether it does so in the CA's window."""
    is_known = assignment.former_ca == ca
    return {"renewal": is_known and assignment.same_names, "ari": is_known and assignment.by_window}


def _certificate(issuance: str) -> str:
    """The id of the certificate that an issuance brings; its key is bound to it before it is there."""
    return f"crt_{issuance.removeprefix('iss_')}"


def _new_key() -> bytes:
    """PEM of a fresh P-256 key; it takes less time than handing the work to a thread."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
