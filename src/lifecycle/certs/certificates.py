"""CertificateService: decides about the certificate of a domain, one decision at a time.

    process_challenge ──> Issuance ──settle──> countdown ──renewal_due──> Issuance ──> …
                                                  └── look_due ──> RenewalInfo ──advised──> countdown moved

Object key: domain. State: `certificate`. The rules are in `rules` (what people ask) and `events` (what happens by
itself); here is only how a decision is carried out.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import assert_never

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from lifecycle import clock, ids, policies
from lifecycle.certs import abandonment, entries, events, issuance, renewal_info, revocation, rules
from lifecycle.certs.decision import Abandon, Decision, Effect, Halt, Issue, Look, LookLater, Recall, Rouse
from lifecycle.certs.model import (
    KIND,
    Act,
    Advised,
    Cancelled,
    Certificate,
    Forfeit,
    IssueCertificate,
    Read,
    RescheduleRenewal,
    RevokeCertificate,
    Revoked,
    Seal,
    Settled,
    Wake,
)
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.service import record
from lifecycle.models import Durable
from lifecycle.observability import measures

CERTIFICATE = "certificate"

certificate_service = VirtualObject(
    "CertificateService",
    description="Decides about the certificate of a domain.",
    invocation_retry_policy=policies.DECISION.invocations(),
)


class Sealed(Durable):
    """Nothing is issued any more. `at_work`: an issuance has not noticed yet."""

    at_work: bool


@certificate_service.handler()
async def process_challenge(ctx: ObjectContext, command: IssueCertificate) -> Certificate:
    """Have a certificate issued."""
    fresh = _fresh(ctx)
    return await _decide(ctx, lambda before: rules.issue(ctx.key(), before, command, fresh=fresh))


@certificate_service.handler()
async def renew(ctx: ObjectContext, act: Act) -> Certificate:
    """Renew now, or try again now."""
    fresh = _fresh(ctx)
    return await _decide(ctx, lambda before: rules.renew(ctx.key(), before, act, fresh=fresh))


@certificate_service.handler()
async def cancel_renewal(ctx: ObjectContext, act: Act) -> Cancelled:
    """End the countdown; the certificate in use stays until it expires."""
    before = await _read(ctx)
    decision, cancelled = rules.cancel_renewal(ctx.key(), before, act)
    _carry_out_all(ctx, before, decision)
    return cancelled


@certificate_service.handler()
async def reschedule_renewal(ctx: ObjectContext, command: RescheduleRenewal) -> Certificate:
    """Move the next renewal or attempt."""
    return await _decide(ctx, lambda before: rules.reschedule_renewal(ctx.key(), before, command))


@certificate_service.handler()
async def halt(ctx: ObjectContext, act: Act) -> Certificate:
    """Give up an issuance that is under way."""
    return await _decide(ctx, lambda before: rules.halt(ctx.key(), before, act))


@certificate_service.handler()
async def revoke(ctx: ObjectContext, command: RevokeCertificate) -> Certificate:
    """Have the certificate in use revoked."""
    return await _decide(ctx, lambda before: rules.revoke(ctx.key(), before, command))


@certificate_service.handler()
async def look(ctx: ObjectContext, act: Act) -> Certificate:
    """Read the CA's renewal window now."""
    return await _decide(ctx, lambda before: rules.look(ctx.key(), before, act))


@certificate_service.handler(ingress_private=True)
async def renewal_due(ctx: ObjectContext, wake: Wake) -> None:
    """The time of the next renewal or attempt may have come."""
    now, fresh = await _now(ctx), _fresh(ctx)
    before = await _read(ctx)
    decision = events.renewal_due(ctx.key(), before, wake.generation, now=now, fresh=fresh)
    after = _carry_out_all(ctx, before, decision)
    begins = any(isinstance(effect, Issue) for effect in decision.effects)
    measures.woken(KIND, before.countdown, after.countdown, begun_at=now if begins else None)


@certificate_service.handler(ingress_private=True)
async def look_due(ctx: ObjectContext, wake: Wake) -> None:
    """The CA's renewal window is to be read again."""
    now = await _now(ctx)
    await _decide(ctx, lambda before: events.look_due(before, wake.generation, now=now))


@certificate_service.handler(ingress_private=True)
async def advised(ctx: ObjectContext, message: Advised) -> None:
    """What the CA says about when to renew."""
    now, chance = await _now(ctx), ctx.random().random()
    await _decide(ctx, lambda before: events.advised(before, message, now=now, random=chance))


@certificate_service.handler(ingress_private=True)
async def settle(ctx: ObjectContext, message: Settled) -> None:
    """An issuance ended."""
    now, chance = message.outcome.at or await _now(ctx), ctx.random().random()
    before = await _read(ctx)
    _carry_out_all(ctx, before, events.settle(ctx.key(), before, message, now=now, random=chance))
    if before.running is not None and events.is_awaited(before, message):
        measures.issued(message.outcome.ending.value, before.running.begun_at, now)


@certificate_service.handler(ingress_private=True)
async def revoked(ctx: ObjectContext, message: Revoked) -> None:
    """A revocation ended."""
    now, fresh = await _now(ctx), _fresh(ctx)
    await _decide(ctx, lambda before: events.revoked(ctx.key(), before, message, now=now, fresh=fresh))


@certificate_service.handler(ingress_private=True)
async def seal(ctx: ObjectContext, order: Seal) -> Sealed:
    """Issue and renew nothing any more, if it still belongs to those who ask."""
    now = await _now(ctx)
    after = await _decide(ctx, lambda before: events.seal(before, order, now=now))
    return Sealed(at_work=after.removed and after.running is not None and after.running.is_at_work)


@certificate_service.handler(ingress_private=True)
async def forfeit(ctx: ObjectContext, message: Forfeit) -> None:
    """A name of the certificate has become somebody else's."""
    now = await _now(ctx)
    await _decide(ctx, lambda before: events.forfeit(before, message, now=now))


@certificate_service.handler(kind="shared", journal_retention=timedelta(0))
async def certificate(ctx: ObjectSharedContext, read: Read) -> Certificate:
    """The certificate as it stands, never blocked by anything."""
    found = await ctx.get(CERTIFICATE, type_hint=Certificate)
    if found is None or not found.exists or found.workspace != read.workspace:
        raise LifecycleError(Code.CERTIFICATE_NOT_FOUND, domain=ctx.key())
    return found


async def _decide(ctx: ObjectContext, rule: Callable[[Certificate], Decision]) -> Certificate:
    before = await _read(ctx)
    return _carry_out_all(ctx, before, rule(before))


def _carry_out_all(ctx: ObjectContext, before: Certificate, decision: Decision) -> Certificate:
    after = decision.certificate.model_copy(update={"sequence": before.sequence + len(decision.transitions)})
    if after != before:
        ctx.set(CERTIFICATE, after)
    for effect in decision.effects:
        _carry_out(ctx, after, effect)
    for entry in entries.entries(ctx.key(), before, after, decision.transitions):
        ctx.service_send(record, arg=entry)
    return after


def _carry_out(ctx: ObjectContext, after: Certificate, effect: Effect) -> None:
    domain = ctx.key()
    wake = Wake(generation=after.countdown.generation)
    match effect:
        case Issue(assignment):
            ctx.workflow_send(issuance.run, assignment.key, assignment)
        case Halt(key):
            ctx.workflow_send(issuance.halt, key, None)
        case Abandon(left, why):
            ctx.service_send(abandonment.abandon, abandonment.Left(issuance=left, why=why))
        case Rouse():
            if after.countdown.wake_at is not None:
                ctx.object_send(renewal_due, domain, wake, send_delay=clock.until(after.countdown.wake_at))
        case LookLater():
            if after.next_look_at is not None:
                ctx.object_send(look_due, domain, wake, send_delay=clock.until(after.next_look_at))
        case Look(ca, certificate_id):
            question = renewal_info.Question(domain=domain, ca=ca, certificate_id=certificate_id)
            ctx.service_send(renewal_info.read, question)
        case Recall(certificate, number, reason):
            order = revocation.Order(domain=domain, certificate=certificate, number=number, reason=reason)
            ctx.service_send(revocation.revoke, order)
        case _:
            assert_never(effect)


async def _read(ctx: ObjectContext) -> Certificate:
    return await ctx.get(CERTIFICATE, type_hint=Certificate) or Certificate()


async def _now(ctx: ObjectContext) -> datetime:
    return datetime.fromtimestamp(await ctx.time(), UTC)


def _fresh(ctx: ObjectContext) -> str:
    """The id of an issuance that may begin now; the same when this is replayed."""
    return ids.derived("iss", str(ctx.uuid()))
