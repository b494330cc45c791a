"""/v1/certificates: issue, show, renew, revoke, download, and look before a CA does."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from lifecycle import clock, ids
from lifecycle.api import certificate_requests, paging, preflights, telling
from lifecycle.api.certificate_answers import answer, summary
from lifecycle.api.certificate_requests import Prepared, key_of
from lifecycle.api.context import ActorOf, Context, ContextOf, IdempotencyKey, IfMatch, etag, idempotency, require
from lifecycle.api.paths import UNQUOTED
from lifecycle.api.shapes import certificates as shapes
from lifecycle.api.shapes.certificates import (
    CertificateAnswer,
    CertificateList,
    NewCertificate,
    PreflightAnswer,
    Renewal,
    Revocation,
)
from lifecycle.certs import expiry_store, store
from lifecycle.certs.model import Act, Certificate, IssueCertificate, Read, RevokeCertificate
from lifecycle.certs.store import Listing, Stored
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.entry import Entry
from lifecycle.models import Actor, Role

router = APIRouter(prefix="/v1/certificates", tags=["certificates"])

_SERVED = "served"
# Those that are removed are in no list.
ListedStatus = Literal["issuing", "active", "renewing", "failed", "revoked"]

Domain = Annotated[
    str,
    UNQUOTED,
    Path(
        max_length=1000,
        description="A host name, a wildcard such as `*.example.com`, or an IP address.",
        examples=[shapes.EXAMPLE_DOMAIN],
    ),
]


class ChainResponse(Response):
    """The certificate with its issuers (RFC 8555, section 9.1)."""

    media_type = "application/pem-certificate-chain"


class KeyResponse(Response):
    """A private key (RFC 7468, section 10)."""

    media_type = "application/x-pem-file"


@router.get("", summary="List certificates")
async def list_all(
    context: ContextOf,
    actor: ActorOf,
    project: Annotated[str | None, Query(max_length=63, description="Id or slug.")] = None,
    status: Annotated[ListedStatus | None, Query(description="Only those that stand so.")] = None,
    sort: Annotated[Literal["name", "expiry"], Query(description="`expiry`: what has none first, then soonest.")] = (
        "name"
    ),
    cursor: paging.Cursor = None,
    limit: paging.Limit = 100,
) -> CertificateList:
    """Lists the domains of the workspace that have a certificate, or are to have one, by name.

    With `sort=expiry` what has no certificate yet comes first, then what expires soonest.
    """
    wanted = expiry_store.Wanted(
        workspace=actor.workspace,
        project=await context.project_id(actor, project) if project else None,
        status=status,
    )
    rows, last = await (_by_expiry if sort == "expiry" else _by_name)(context, wanted, cursor, limit)
    versions = await store.versions_of(context.db, [row.domain for row in rows], workspace=actor.workspace)
    return CertificateList(
        items=tuple(summary(row, versions[row.domain]) for row in rows),
        next_cursor=paging.encode(*last) if len(rows) == limit else None,
    )


@router.get("/{domain}", summary="Show a certificate")
async def show(domain: Domain, context: ContextOf, actor: ActorOf, response: Response) -> CertificateAnswer:
    """Shows the certificate of a domain: where it stands, what comes next, and what there was before."""
    return await _shown(context, response, key_of(domain), await _read(context, actor, domain))


@router.post("/{domain}/issue", status_code=202, summary="Issue a certificate")
async def issue(
    domain: Domain,
    body: NewCertificate,
    context: ContextOf,
    actor: ActorOf,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> CertificateAnswer:
    """Orders a certificate for a domain, and keeps it renewed from then on. Needs the role operator.

    Asking again for what is there, or is under way, changes nothing. Other names or another way replace what there is
    when the new one is there. What the CA could only refuse is refused before it is asked.
    """
    require(actor, Role.OPERATOR)
    prepared = await certificate_requests.prepare(context, actor, domain, body)
    await certificate_requests.check_zones(context, prepared.wish)
    certificate = await context.client.issue_certificate(
        prepared.domain,
        order(actor, prepared, force=body.force),
        idempotency_key=idempotency(actor, idempotency_key, "issue", prepared.domain, body.model_dump_json()),
    )
    return await _shown(context, response, prepared.domain, certificate)


@router.post("/{domain}/preflight", summary="Look before the CA does")
async def preflight(domain: Domain, body: NewCertificate, context: ContextOf, actor: ActorOf) -> PreflightAnswer:
    """Says what would be in the way of a certificate, and what to set. Needs the role operator.

    It looks where the CA would look: CAA, addresses, ports, zones, name servers. Nothing is ordered. It may take
    twenty seconds when servers do not answer.
    """
    require(actor, Role.OPERATOR)
    return await preflights.look(context, await certificate_requests.prepare(context, actor, domain, body))


@router.post("/{domain}/renew", status_code=202, summary="Renew a certificate")
async def renew(
    domain: Domain,
    context: ContextOf,
    actor: ActorOf,
    response: Response,
    body: Renewal | None = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> CertificateAnswer:
    """Renews now, or tries again now what failed; the one in use stays until then. Needs the role operator."""
    force = body is not None and body.force
    key = key_of(domain)
    certificate = await context.client.renew_certificate(
        key,
        _act(actor, if_match, force=force),
        idempotency_key=idempotency(actor, idempotency_key, "renew", key, str(if_match), str(force)),
    )
    return await _shown(context, response, key, certificate)


@router.post("/{domain}/halt", status_code=202, summary="Give an issuance up")
async def halt(
    domain: Domain, context: ContextOf, actor: ActorOf, response: Response, if_match: IfMatch = None
) -> CertificateAnswer:
    """Gives up the issuance that is under way; the certificate in use stays. Needs the role operator."""
    return await _done(context, actor, response, domain, if_match, context.client.halt_issuance)


@router.post("/{domain}/records-published", status_code=202, summary="Say that the DNS records are set")
async def records_published(
    domain: Domain, context: ContextOf, actor: ActorOf, response: Response
) -> CertificateAnswer:
    """Tells an issuance that waits for a person that its TXT records are set. Needs the role operator.

    They are looked for at once, and every minute anyhow.
    """
    require(actor, Role.OPERATOR)
    certificate = await _read(context, actor, domain)
    wish, running = certificate.wish, certificate.running
    if wish is None or not wish.by_person or running is None or not running.is_at_work:
        raise LifecycleError(Code.CERTIFICATE_NOT_ISSUING, domain=key_of(domain))
    await context.client.records_published(running.key)
    return await _shown(context, response, key_of(domain), certificate)


@router.post("/{domain}/revoke", status_code=202, summary="Revoke a certificate")
async def revoke(
    domain: Domain,
    context: ContextOf,
    actor: ActorOf,
    response: Response,
    body: Revocation | None = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> CertificateAnswer:
    """Has the CA revoke the certificate in use. Needs the role administrator.

    It is served and renewed no more. With `key_compromise` its key is never used again, and another certificate with
    another key is ordered at once, which takes its place.
    """
    key, reason = key_of(domain), (body or Revocation()).reason
    command = RevokeCertificate(actor=actor, now=clock.now(), generation=if_match, reason=int(reason.code))
    certificate = await context.client.revoke_certificate(
        key,
        command,
        idempotency_key=idempotency(actor, idempotency_key, "revoke", key, str(if_match), reason.value),
    )
    return await _shown(context, response, key, certificate)


@router.get("/{domain}/chain.pem", summary="Download a certificate", response_class=ChainResponse)
async def chain(
    domain: Domain,
    context: ContextOf,
    actor: ActorOf,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="An earlier one.")] = None,
) -> Response:
    """The certificate in use and its issuers, as PEM: what servers want as their full chain."""
    stored = await _stored(context, domain, await _read(context, actor, domain), version)
    return ChainResponse(stored.chain)


@router.post("/{domain}/key", summary="Download the private key", response_class=KeyResponse)
async def download_key(domain: Domain, context: ContextOf, actor: ActorOf) -> Response:
    """The private key of the certificate in use, as PEM. Needs the role administrator.

    Who took it is in the audit log before it is given.
    """
    require(actor, Role.ADMINISTRATOR)
    certificate = await _read(context, actor, domain)
    stored = await _stored(context, domain, certificate, None)
    pem = context.vault.open(stored.sealed_key, bound_to=stored.version.id)
    entry = Entry(
        id=ids.new("aud"),
        sequence=0,
        workspace=actor.workspace,
        project=certificate.project,
        action="certificate.key_downloaded",
        actor=actor,
        at=clock.now(),
        detail={"domain": stored.domain, "version": stored.version.number, "serial": stored.version.serial},
    )
    told = await context.db.transaction(lambda connection: telling.record(context, connection, entry))
    await telling.tell(context, told)
    return KeyResponse(pem, headers={"Cache-Control": "no-store"})


async def _by_name(
    context: Context, wanted: expiry_store.Wanted, cursor: str | None, limit: int
) -> tuple[Sequence[Listing], tuple[str, ...]]:
    """A page of the list, and the position of its end."""
    after = paging.decode(cursor, parts=1)[0] if cursor else ""
    rows = await store.list_domains(context.db, **wanted._asdict(), after=after, limit=limit)
    return rows, (rows[-1].domain,) if rows else ()


async def _by_expiry(
    context: Context, wanted: expiry_store.Wanted, cursor: str | None, limit: int
) -> tuple[Sequence[Listing], tuple[str, ...]]:
    after = None
    if cursor:
        moment, domain = paging.decode(cursor, parts=2)
        after = (paging.moment(moment), domain)
    places = await expiry_store.by_expiry(context.db, wanted, after=after, limit=limit)
    last = (places[-1].runs_out_at.isoformat(), places[-1].listing.domain) if places else ()
    return [place.listing for place in places], last


def order(actor: Actor, prepared: Prepared, *, force: bool, spread: tuple[int, int] | None = None) -> IssueCertificate:
    """The command for a certificate that may be asked for.

    Args:
        actor: who asks.
        prepared: what for.
        force: whether our own budget does not count.
        spread: place and count among many that are asked for together.
    """
    return IssueCertificate(
        actor=actor, now=clock.now(), project=prepared.project, wish=prepared.wish, spread=spread, force=force
    )


def _act(actor: Actor, generation: int | None, *, force: bool = False) -> Act:
    return Act(actor=actor, now=clock.now(), generation=generation, force=force)


async def _done(
    context: Context,
    actor: Actor,
    response: Response,
    domain: str,
    generation: int | None,
    ask: Callable[[str, Act], Awaitable[Certificate]],
) -> CertificateAnswer:
    key = key_of(domain)
    return await _shown(context, response, key, await ask(key, _act(actor, generation)))


async def _read(context: Context, actor: Actor, domain: str) -> Certificate:
    return await context.client.certificate(key_of(domain), Read(workspace=actor.workspace))


async def _shown(context: Context, response: Response, key: str, certificate: Certificate) -> CertificateAnswer:
    response.headers["ETag"] = etag(certificate.countdown.generation)
    return await answer(context, key, certificate)


async def _stored(context: Context, domain: str, certificate: Certificate, number: int | None) -> Stored:
    """The version that is served, or the one with this number.

    Raises:
        LifecycleError: CERTIFICATE_NOT_ISSUED, CERTIFICATE_REVOKED, CERTIFICATE_VERSION_NOT_FOUND.
    """
    key = key_of(domain)
    for stored in await store.versions(context.db, key, workspace=certificate.workspace):
        if stored.version.number == number or (number is None and stored.status == _SERVED):
            return stored
    if number is not None:
        raise LifecycleError(Code.CERTIFICATE_VERSION_NOT_FOUND, domain=key, version=str(number))
    if certificate.revoked_at is not None:
        raise LifecycleError(Code.CERTIFICATE_REVOKED, domain=key, at=clock.rfc3339(certificate.revoked_at))
    raise LifecycleError(Code.CERTIFICATE_NOT_ISSUED, domain=key)
