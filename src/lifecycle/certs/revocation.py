"""Revocation: has a certificate revoked by its CA (RFC 8555, section 7.6), and tells CertificateService.

A key that was disclosed is blocked first, so that it is never used again whatever the CA says.
"""

import itertools
from datetime import UTC, datetime

from restate import Context, Service, TerminalError

from lifecycle import clock, policies, resources
from lifecycle.certs import acme, delivery, endings, store
from lifecycle.certs.acme import Reason, Signer
from lifecycle.certs.authorities import Opened
from lifecycle.certs.issuing import Asked
from lifecycle.certs.model import Ending, Outcome, Revoked
from lifecycle.certs.verdicts import Done, Failure, Refused
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Durable

# What a CA says when the certificate belongs to another account than ours of today, or ours is gone.
_NOT_OURS = frozenset({"unauthorized", "accountDoesNotExist"})

revocation = Service(
    "Revocation",
    description="Has a certificate revoked by its CA.",
    ingress_private=True,
    invocation_retry_policy=policies.CA.invocations(),
)


class Order(Durable):
    """Which version of which domain, and why (RFC 5280, section 5.3.1)."""

    domain: str
    certificate: str
    number: int
    reason: int


@revocation.handler()
async def revoke(ctx: Context, order: Order) -> None:
    """Have one version revoked, and serve it no more; a disclosed key is served until its successor is there."""
    failure = await _ask(ctx, order)
    if not failure:
        await ctx.run_typed("retire", _retire, policies.GATEWAY.options(type(None)), order=order)
    message = Revoked(version=order.number, reason=order.reason, failure=failure)
    # An answer upward is a send by name: an import would make a ring of services that wait for each other.
    ctx.generic_send("CertificateService", "revoked", message.model_dump_json().encode(), key=order.domain)


async def _ask(ctx: Context, order: Order) -> str:
    """Ask the CA, again where that helps soon; returns why it would not."""
    for attempt in itertools.count(1):
        try:
            asked = await ctx.run_typed(f"revoke-{attempt}", _revoke, policies.CA.options(Asked), order=order)
        except TerminalError as error:  # a refusal of our own, such as an authority that is not configured any more
            return error.message
        if asked.failure is None:
            return asked.over.message if asked.over else ""
        now = datetime.fromtimestamp(await ctx.time(), UTC)
        pause = endings.pause(asked.failure, about=asked.about, attempt=attempt, now=now)
        if pause is None:
            return endings.message(asked.failure)
        await ctx.sleep(pause)
    raise AssertionError("unreachable")


async def _revoke(order: Order) -> Asked:
    available = resources.current()
    stored = await store.find_certificate(available.db, order.certificate)
    if stored is None:
        return Asked(over=Outcome(ending=Ending.REFUSED, message=f"{order.certificate} has vanished."))
    if order.reason == Reason.KEY_COMPROMISE:
        await store.block_key(available.db, stored.version.key_digest, order.domain, clock.now())
    ca, reason = available.authorities.authority(stored.version.ca), Reason(order.reason)
    signer = await _account(stored.version.ca)
    done: Done | Failure | None = None
    if signer is not None:
        done = await available.authorities.run(acme.revoke, ca, signer, stored.chain, reason)
    is_not_ours = done is None or (isinstance(done, Refused) and done.problem.kind in _NOT_OURS)
    if is_not_ours and stored.sealed_key:
        # Whoever has the certificate's key may revoke it as well (RFC 8555, section 7.6).
        own = Signer(available.vault.open(stored.sealed_key, bound_to=stored.version.id))
        done = await available.authorities.run(acme.revoke, ca, own, stored.chain, reason)
    if done is None:
        why = "Neither our account at the CA nor its private key is left, so nobody can have it revoked."
        return Asked(over=Outcome(ending=Ending.REFUSED, message=why))
    return Asked() if isinstance(done, Done) else Asked(failure=done)


async def _account(ca: str) -> Signer | None:
    """Our account at the CA; None when there is none any more, or none is to be had."""
    try:
        opened = await resources.current().authorities.opened(ca)
    except LifecycleError as error:
        if error.code is not Code.AUTHORITY_ACCOUNT_DEACTIVATED:
            raise
        return None
    return opened.signer if isinstance(opened, Opened) else None


async def _retire(order: Order) -> None:
    is_disclosed = order.reason == Reason.KEY_COMPROMISE
    await store.mark_revoked(resources.current().db, order.certificate, clock.now(), until_replaced=is_disclosed)
    if not is_disclosed:
        await delivery.withdraw(order.domain)
