"""DomainVerification: sees to it that a custom domain belongs to whoever proves it.

    verify, retry, check ──> DomainLook ──looked──> countdown ──check──> …
                                 └── settled in the database: of all claims to a domain one at most owns it

Object key: domain id, of which every project has its own for the same domain. State: `domain`: the clock and what was
heard last. Whose the domain is, is decided where all claims are together, by the rules in one transaction of the
database (`rules`, `store`); here is what happens when, and what is told to whom.
"""

from datetime import UTC, datetime, timedelta
from typing import assert_never

from restate import Context, ObjectContext, ObjectSharedContext, Service, TerminalError, VirtualObject

from lifecycle import clock, policies, resources
from lifecycle.certs import certificates, configuration
from lifecycle.certs.dns import Resolver
from lifecycle.certs.model import Act, IssueCertificate, Seal, Wish
from lifecycle.certs.model import Forfeit as ForfeitName
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.deploy.verification import moves, rules, store
from lifecycle.deploy.verification import sight as sights
from lifecycle.deploy.verification.model import (
    Begin,
    Forget,
    Looked,
    Lost,
    Question,
    Refused,
    Retry,
    Ruling,
    Sight,
    Verification,
    Wake,
)
from lifecycle.deploy.verification.moves import Ask, Certify, Decision, Displace, Effect, Forfeit, Lapse, Rouse
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.service import record
from lifecycle.models import Durable, Role

DOMAIN = "domain"
# Longer than a look may take, and than its next attempt.
_OVERDUE_AFTER = timedelta(minutes=15)
_MENDED_AT_ONCE = 100

domain_verification = VirtualObject(
    "DomainVerification",
    description="Sees to it that a custom domain belongs to whoever proves it.",
    invocation_retry_policy=policies.DECISION.invocations(),
)
domain_look = Service(
    "DomainLook",
    description="Asks DNS about a custom domain, and writes down whose it is.",
    ingress_private=True,
    journal_retention=timedelta(0),
    invocation_retry_policy=policies.DECISION.invocations(),
)


class Overdue(Durable):
    """Claims that should have been looked at."""

    ids: tuple[str, ...] = ()


class Wanted(Durable):
    """A certificate that is asked for, for which claim."""

    id: str
    token: str
    hostname: str
    command: IssueCertificate


class Moved(Durable):
    """A host that the gateway is to learn about."""

    hostname: str


@domain_verification.handler(ingress_private=True)
async def verify(ctx: ObjectContext, command: Begin) -> None:
    """A claim was written down: look for proof."""
    _carry_out_all(ctx, moves.begin(await _read(ctx), command))


@domain_verification.handler()
async def retry(ctx: ObjectContext, command: Retry) -> Verification:
    """Look now; what was given up or lost is tried again from the beginning."""
    if not command.actor.role.includes(Role.OPERATOR):
        raise LifecycleError(Code.ROLE_REQUIRED, required=Role.OPERATOR.value, role=command.actor.role.value)
    before = await _read(ctx)
    if (before or command.claim).workspace != command.actor.workspace:
        raise LifecycleError(Code.DOMAIN_NOT_FOUND, domain=command.claim.hostname)
    return _carry_out_all(ctx, moves.retry(before, command))


@domain_verification.handler(ingress_private=True)
async def check(ctx: ObjectContext, wake: Wake) -> None:
    """The time of the next look may have come."""
    before = await _read(ctx)
    if before is not None:
        _carry_out_all(ctx, moves.woken(before, wake.generation, now=await _now(ctx)))


@domain_verification.handler(ingress_private=True)
async def missed(ctx: ObjectContext) -> None:
    """A wake-up was lost: look now."""
    before = await _read(ctx)
    if before is not None:
        _carry_out_all(ctx, moves.missed(before, now=await _now(ctx)))


@domain_verification.handler(ingress_private=True)
async def looked(ctx: ObjectContext, message: Looked) -> None:
    """A look has ended."""
    before = await _read(ctx)
    if before is not None:
        _carry_out_all(ctx, moves.looked(before, message, now=await _now(ctx)))


@domain_verification.handler(ingress_private=True)
async def lost(ctx: ObjectContext, message: Lost) -> None:
    """Another project proved that it controls the domain."""
    before = await _read(ctx)
    if before is not None:
        _carry_out_all(ctx, moves.lost(before, message, now=await _now(ctx)))


@domain_verification.handler(ingress_private=True)
async def refused(ctx: ObjectContext, message: Refused) -> None:
    """The certificate that was asked for is not to be had now."""
    before = await _read(ctx)
    if before is not None:
        _carry_out_all(ctx, moves.refused(before, message, now=await _now(ctx)))


@domain_verification.handler(ingress_private=True)
async def forget(ctx: ObjectContext, command: Forget) -> None:
    """The project gives the domain back."""
    before = await _read(ctx)
    if before is not None:
        _carry_out_all(ctx, moves.forget(before, command))


@domain_verification.handler(kind="shared", journal_retention=timedelta(0))
async def state(ctx: ObjectSharedContext) -> Verification | None:
    """The clock as it is; None when there never was one."""
    return await ctx.get(DOMAIN, type_hint=Verification)


@domain_look.handler()
async def look(ctx: Context, question: Question) -> None:
    """Look once, settle whose the domain is, and tell all whom it concerns."""
    sight = await ctx.run_typed("ask-dns", _ask, policies.DATABASE.options(Sight), question=question)
    ruling = await ctx.run_typed("settle", _settle, policies.DATABASE.options(Ruling), question=question, sight=sight)
    # Answers upward are sends by name: an import would make a ring of services that wait for each other.
    for former in ruling.taken_from:
        loss = Lost(token=former.token, version=former.version)
        ctx.generic_send("DomainVerification", "lost", loss.model_dump_json().encode(), key=former.id)
        moved = Moved(hostname=question.hostname)
        ctx.generic_send("RoutingService", "forget_domain", moved.model_dump_json().encode(), key=former.project)
    if ruling.won:
        ctx.generic_send("RoutingService", "refresh", b"", key=question.project)
    message = Looked(token=question.token, ruling=ruling)
    ctx.generic_send("DomainVerification", "looked", message.model_dump_json().encode(), key=question.id)
    if ruling.won or ruling.taken_from:
        # Only now: whoever dies before this is followed by one who says it all again.
        await ctx.run_typed(
            "note-told", _note_told, policies.DATABASE.options(type(None)), question=question, ruling=ruling
        )


@domain_look.handler()
async def certify(ctx: Context, wanted: Wanted) -> None:
    """Ask for a certificate, and say so when it is refused: nobody would hear of it who only sends the request."""
    try:
        await ctx.object_call(certificates.process_challenge, wanted.hostname, wanted.command)
    except TerminalError as error:
        message = Refused(token=wanted.token, why=error.message)
        ctx.generic_send("DomainVerification", "refused", message.model_dump_json().encode(), key=wanted.id)


@domain_look.handler()
async def upkeep(ctx: Context) -> None:
    """Have all looked at whose wake-up was lost; the reconciler asks for it again and again."""
    overdue = await ctx.run_typed("find-overdue", _find_overdue, policies.ENGINE.options(Overdue))
    for one in overdue.ids:
        ctx.generic_send("DomainVerification", "missed", b"", key=one)


async def _find_overdue() -> Overdue:
    found = await store.overdue(resources.current().db, clock.now() - _OVERDUE_AFTER, _MENDED_AT_ONCE)
    return Overdue(ids=tuple(one.id for one in found))


async def _ask(question: Question) -> Sight:
    settings = resources.current().settings
    found = rules.ways(
        question.project, base=settings.cname_target, addresses=[str(one) for one in settings.gateway_addresses]
    )
    # Read anew each time: somebody who changes the resolvers need not wait for a day.
    resolver = Resolver(configuration.read(settings.certificates_file))
    return await sights.look(resolver, question.hostname, question.token, found)


async def _settle(question: Question, sight: Sight) -> Ruling:
    available = resources.current()
    ruling = await store.settle(available.db, question, sight, clock.now())
    settings = available.settings
    certifies = settings.domains_certificates and bool(configuration.read(settings.certificates_file).authority)
    return ruling.model_copy(update={"certificate": ruling.certificate and certifies})


async def _note_told(question: Question, ruling: Ruling) -> None:
    told = [(question.id, ruling.version), *((former.id, former.version) for former in ruling.taken_from)]
    await store.note_told(resources.current().db, told)


def _carry_out_all(ctx: ObjectContext, decided: Decision) -> Verification:
    decision = moves.numbered(decided)
    ctx.set(DOMAIN, decision.verification)
    for effect in decision.effects:
        _carry_out(ctx, decision.verification, effect)
    if (entry := moves.entry(ctx.key(), decision)) is not None:
        ctx.service_send(record, arg=entry)
    return decision.verification


def _carry_out(ctx: ObjectContext, after: Verification, effect: Effect) -> None:
    match effect:
        case Ask():
            question = Question(
                id=ctx.key(),
                project=after.project,
                hostname=after.hostname,
                token=after.token,
                begun_at=after.begun_at,
                version=after.version,
            )
            ctx.service_send(look, question)
        case Rouse():
            if after.countdown.wake_at is not None:
                wake = Wake(generation=after.countdown.generation)
                ctx.object_send(check, ctx.key(), wake, send_delay=clock.until(after.countdown.wake_at))
        case Displace():
            ctx.object_send(certificates.seal, after.hostname, Seal(other_than=after.workspace))
        case Certify(actor, now):
            wish = Wish(identifiers=(Identifier(value=after.hostname),), challenge=ChallengeType.HTTP_01)
            asked = IssueCertificate(actor=actor, now=now, project=after.project, wish=wish)
            wanted = Wanted(id=ctx.key(), token=after.token, hostname=after.hostname, command=asked)
            ctx.service_send(certify, wanted)
        case Forfeit(domain):
            forfeited = ForfeitName(name=after.hostname, winner=after.workspace)
            ctx.object_send(certificates.forfeit, domain, forfeited)
        case Lapse(actor, now, issuing):
            if issuing:
                theirs = Seal(workspace=after.workspace, project=after.project)
                ctx.object_send(certificates.seal, after.hostname, theirs)
            else:
                ctx.object_send(certificates.cancel_renewal, after.hostname, Act(actor=actor, now=now))
        case _:
            assert_never(effect)


async def _read(ctx: ObjectContext) -> Verification | None:
    return await ctx.get(DOMAIN, type_hint=Verification)


async def _now(ctx: ObjectContext) -> datetime:
    return datetime.fromtimestamp(await ctx.time(), UTC)
