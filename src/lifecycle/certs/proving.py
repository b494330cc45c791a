"""The steps of an issuance that prove control of its names. Each may be repeated.

    publish ──> answer ──> look ──> withdraw        one step, `prove`, where nothing has to be waited for between them

What is published is written down before, and marked when it is gone, so that nothing is left behind whatever crashes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from dns.rdatatype import RdataType

from lifecycle import clock, resources
from lifecycle.certs import acme, orders_store
from lifecycle.certs.authorities import Opened
from lifecycle.certs.dns import Reason, Unpublishable, Unreachable, Visible
from lifecycle.certs.dns.answers import Unresolved
from lifecycle.certs.issuing import LOOKS, Asked, reported
from lifecycle.certs.model import Assignment, Ending, Outcome
from lifecycle.certs.names import ChallengeType
from lifecycle.certs.orders_store import Published
from lifecycle.certs.problems import About
from lifecycle.certs.verdicts import Authorization, Challenge, Failure, Order, Problem, Refused
from lifecycle.deploy.gateway import GatewayDownError
from lifecycle.models import Durable

_log = logging.getLogger(__name__)
_DNS = ChallengeType.DNS_01.value
_UNAUTHORIZED = "urn:ietf:params:acme:error:unauthorized"
_GOOD, _OPEN = "valid", "pending"
# No CA has looked sooner than this, in seconds; asking before would be a request in vain.
_VALIDATION = 0.01


class Proof(Durable):
    """What is to be proved: the authorization with its challenge."""

    authorization: str
    identifier: str
    challenge: str
    token: str
    is_answered: bool = False


class Proofs(Asked):
    """Authorizations that are not valid yet.

    Attributes:
        is_withdrawn: whether nothing is published any more.
    """

    proofs: tuple[Proof, ...] = ()
    is_withdrawn: bool = False


class Visibility(Durable):
    """Whether every server has what was published."""

    why: str = ""


async def prove(assignment: Assignment, ca: str, order: Order) -> Proofs:
    """Publish, have the CA look, and withdraw; what the CA has not seen yet is left, and stays published."""

    async def work(opened: Opened) -> Proofs:
        published = await _publish(opened, assignment, order)
        return await _answer(opened, assignment, published.proofs) if published.proofs else published

    return await _with_account(ca, work)


async def publish(assignment: Assignment, ca: str, order: Order) -> Proofs:
    """Have everything there that the CA will look for; names that were proved of late need nothing."""
    return await _with_account(ca, lambda opened: _publish(opened, assignment, order))


async def answer(assignment: Assignment, ca: str, proofs: Sequence[Proof]) -> Proofs:
    """Tell the CA to look, and go on as `look`."""
    return await _with_account(ca, lambda opened: _answer(opened, assignment, proofs))


async def look(assignment: Assignment, ca: str, proofs: Sequence[Proof]) -> Proofs:
    """Wait a moment for the CA to look; what it has not seen yet is left. When it has seen all, that is withdrawn."""
    return await _with_account(ca, lambda opened: _look(opened, assignment, proofs))


async def look_at_records(assignment: Assignment) -> Visibility:
    """Whether the TXT records are on every authoritative server."""
    available = resources.current()
    for row in await orders_store.published(available.db, assignment.issuance):
        record = row.place.partition(" ")[0] or await _led(row.name)
        seen = await available.dns.is_visible(record, row.value)
        if not isinstance(seen, Visible):
            return Visibility(why=seen.why)
    return Visibility()


async def withdraw(issuance: str) -> None:
    """Remove what was published, by its exact value.

    Raises:
        RuntimeError: something could not be removed; all else is.
    """
    available = resources.current()
    gone: list[Published] = []
    stuck: list[str] = []
    for row in await orders_store.published(available.db, issuance):
        if row.type == _DNS and row.place:
            record, _, zone = row.place.partition(" ")
            removed = await available.dns.remove(record, zone, row.value)
            if isinstance(removed, Unreachable | Unpublishable):
                stuck.append(f"{record}: {removed.why}")
                continue
        elif row.type == ChallengeType.TLS_ALPN_01.value and available.gateway is not None:
            await available.gateway.certificates.withdraw_challenge(row.name)
        gone.append(row)
    await orders_store.mark_removed(available.db, gone, clock.now())
    if stuck:
        raise RuntimeError(f"what was published for {issuance} is still there: {'; '.join(stuck)}")


async def _with_account(ca: str, work: Callable[[Opened], Awaitable[Proofs]]) -> Proofs:
    opened = await resources.current().authorities.opened(ca)
    return await work(opened) if isinstance(opened, Opened) else Proofs(failure=opened)


async def _publish(opened: Opened, assignment: Assignment, order: Order) -> Proofs:
    proofs: list[Proof] = []
    for one in await _read_all(opened, order.authorizations):
        if not isinstance(one, Authorization):
            return Proofs(failure=await reported(opened.name, one, About.REQUEST))
        if one.status == _GOOD:
            continue
        challenge = one.challenge(assignment.wish.challenge.value)
        if one.status != _OPEN or challenge is None:
            return await _dead(opened, assignment, one)
        proofs.append(_proof(one, challenge))
    if not proofs:  # perhaps since this step has run before
        return await _withdrawn(assignment)
    rows = [_to_publish(assignment, proof, acme.key_authorization(opened.signer, proof.token)) for proof in proofs]
    await orders_store.write_published(resources.current().db, assignment, rows, clock.now())
    over: Outcome | None = None
    if assignment.wish.challenge is ChallengeType.DNS_01 and not assignment.wish.by_person:
        over = await _publish_records(assignment, opened.name, rows)
    elif assignment.wish.challenge is ChallengeType.TLS_ALPN_01:
        over = await _publish_certificates(assignment, opened.name, rows)
    return Proofs(over=over) if over else Proofs(proofs=tuple(proofs))


async def _answer(opened: Opened, assignment: Assignment, proofs: Sequence[Proof]) -> Proofs:
    run = resources.current().authorities.run
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(run(acme.answer, opened.ca, opened.signer, proof.challenge))
            for proof in proofs
            if not proof.is_answered
        ]
    for task in asked:
        said = task.result()
        # One that was told before says so, which is as good.
        was_told = isinstance(said, Refused) and said.problem.kind == "malformed"
        if isinstance(said, Failure) and not was_told:
            return Proofs(failure=await reported(opened.name, said, About.REQUEST))
    return await _look(opened, assignment, proofs)


async def _look(opened: Opened, assignment: Assignment, proofs: Sequence[Proof]) -> Proofs:
    left = list(proofs)
    for pause in (_VALIDATION, *LOOKS):
        await asyncio.sleep(pause)
        found = await _read_all(opened, [proof.authorization for proof in left])
        for one in found:
            if not isinstance(one, Authorization):
                return Proofs(failure=await reported(opened.name, one, About.ORDER))
            if one.status not in (_GOOD, _OPEN):
                return await _dead(opened, assignment, one)
        good = {one.url for one in found if isinstance(one, Authorization) and one.status == _GOOD}
        left = [proof for proof in left if proof.authorization not in good]
        if not left:
            return await _withdrawn(assignment)
    return Proofs(proofs=tuple(left))


async def _withdrawn(assignment: Assignment) -> Proofs:
    """All is proved. What cannot be withdrawn now is left to a step of its own, which the certificate outlives."""
    try:
        if assignment.wish.challenge is ChallengeType.HTTP_01:
            await orders_store.withdraw_tokens(resources.current().db, assignment.issuance, clock.now())
        else:
            await withdraw(assignment.issuance)
    except (RuntimeError, GatewayDownError) as error:
        _log.warning("%s: %s", assignment.issuance, error)
        return Proofs()
    return Proofs(is_withdrawn=True)


async def _publish_certificates(assignment: Assignment, ca: str, rows: Sequence[Published]) -> Outcome | None:
    gateway = resources.current().gateway
    if gateway is None or gateway.certificates.address() is None:
        why = "There is no gateway with TLS that could answer tls-alpn-01."
        return Outcome(ending=Ending.REFUSED, message=why, ca=ca)
    identifiers = {one.value: one for one in assignment.wish.identifiers}
    for row in rows:
        certificate, key = acme.tls_alpn_certificate(identifiers[row.identifier], row.value, now=clock.now())
        await gateway.certificates.answer_challenge(row.name, certificate + key)
    return None


async def _publish_records(assignment: Assignment, ca: str, rows: Sequence[Published]) -> Outcome | None:
    available = resources.current()
    placed: list[Published] = []
    for row in rows:
        done = await available.dns.publish(row.name, row.value)
        if isinstance(done, Unpublishable):
            ending = Ending.AGAIN if done.reason is Reason.REFUSED else Ending.REFUSED
            return Outcome(ending=ending, message=done.why, ca=ca)
        if isinstance(done, Unreachable):
            return Outcome(ending=Ending.AGAIN, message=done.why, ca=ca)
        placed.append(row._replace(place=f"{done.record} {done.zone}"))
        # One by one: were this killed now, the next run must know where this record went.
        await orders_store.write_published(available.db, assignment, placed[-1:], clock.now())
    return None


async def _led(name: str) -> str:
    """Where the CNAMEs of a name lead that a person sets; the name itself when DNS does not say."""
    found = await resources.current().dns.resolver.ask(name, RdataType.TXT)
    return name if isinstance(found, Unresolved) else found.canonical


def _to_publish(assignment: Assignment, proof: Proof, authorization: str) -> Published:
    kind = assignment.wish.challenge
    bare = next(one for one in assignment.wish.identifiers if one.value.removeprefix("*.") == proof.identifier)
    name = {
        ChallengeType.HTTP_01: proof.token,
        ChallengeType.DNS_01: acme.validation_name(bare),
        # RFC 8738, section 6: an address is asked for by its name below `arpa`.
        ChallengeType.TLS_ALPN_01: ip_address(bare.value).reverse_pointer if bare.type == "ip" else bare.value,
    }[kind]
    value = acme.dns_value(authorization) if kind is ChallengeType.DNS_01 else authorization
    return Published(assignment.issuance, kind.value, name, value, proof.identifier)


def _proof(authorization: Authorization, challenge: Challenge) -> Proof:
    return Proof(
        authorization=authorization.url,
        identifier=authorization.identifier.value,
        challenge=challenge.url,
        token=challenge.token,
        is_answered=challenge.status != _OPEN,
    )


async def _read_all(opened: Opened, urls: Sequence[str]) -> Sequence[Authorization | Failure]:
    run = resources.current().authorities.run
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(run(acme.read_authorization, opened.ca, opened.signer, url)) for url in urls]
    return [task.result() for task in asked]


async def _dead(opened: Opened, assignment: Assignment, authorization: Authorization) -> Proofs:
    """An authorization that can never become valid, and why."""
    name = authorization.identifier.value
    if authorization.status == _OPEN:
        offered = ", ".join(one.type for one in authorization.challenges)
        wanted = assignment.wish.challenge.value
        return Proofs(failure=Refused(problem=Problem(detail=f"for {name} it offers {offered}, and not {wanted}")))
    problem = authorization.problem or Problem(
        type=_UNAUTHORIZED, detail=f"the authorization is {authorization.status}"
    )
    failure = Refused(problem=problem.model_copy(update={"detail": f"{name}: {problem.detail}"}))
    await resources.current().authorities.spend_failure(
        opened.name, authorization.identifier, reference=authorization.url
    )
    return Proofs(failure=await reported(opened.name, failure, About.CHALLENGE), about=About.CHALLENGE)
