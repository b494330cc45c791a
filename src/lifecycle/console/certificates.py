"""Certificates: how long each lives, what comes next, what went wrong, and what the authorities still allow."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from pydantic import BeforeValidator

from lifecycle import clock
from lifecycle.api import authorities, certificates
from lifecycle.api.certificates import ListedStatus
from lifecycle.api.context import Context, ContextOf, if_match
from lifecycle.api.shapes.authorities import AuthorityAnswer
from lifecycle.api.shapes.base import Asked
from lifecycle.api.shapes.certificates import (
    CertificateAnswer,
    CertificateSummary,
    NewCertificate,
    Renewal,
    Revocation,
    RevocationReason,
)
from lifecycle.certs import expiry_store
from lifecycle.certs.model import Status
from lifecycle.certs.names import ChallengeType
from lifecycle.certs.renewals import Life
from lifecycle.console import lineage, lives, notices, troubles, verbs
from lifecycle.console.notices import DoneOf
from lifecycle.console.pages import PageRoute, asked, page
from lifecycle.console.sessions import SentOf, Visitor, VisitorOf
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Role

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_PER_PAGE = 100
# A page must not wait for a CA that hangs; what it knows of itself is no more than a help here.
_AUTHORITIES_WITHIN = 2.0
_SHOWN_STATUSES = (Status.FAILED, Status.ISSUING, Status.RENEWING, Status.ACTIVE, Status.REVOKED)

DONE: Mapping[str, str] = MappingProxyType(
    {
        "issue": "It is ordered. What happens is shown here.",
        "renew": "A new one is being ordered; visitors get the present one until it is there.",
        "revoke": "The authority is being asked to revoke it.",
        "halt": "The issuance is given up.",
        "published": "The records are being looked for.",
    }
)


class Verb(StrEnum):
    """What can be done with a certificate."""

    RENEW = "renew"
    HALT = "halt"
    REVOKE = "revoke"
    PUBLISHED = "published"


# Those that are asked about first.
_CONFIRMED: Mapping[Verb, Role] = MappingProxyType(
    {Verb.RENEW: Role.OPERATOR, Verb.HALT: Role.OPERATOR, Verb.REVOKE: Role.ADMINISTRATOR}
)


class CertificateQuery(Asked):
    """The filters of the page, as its address has them."""

    project: str | None = None
    status: Annotated[ListedStatus | None, BeforeValidator(lambda text: text or None)] = None
    cursor: str | None = None


@router.get("/certificates")
async def show_all(context: ContextOf, visitor: VisitorOf, query: Annotated[CertificateQuery, Query()]) -> Response:
    """All certificates by expiry, the soonest first."""
    project = await context.project_id(visitor.actor, query.project) if query.project else None
    async with asyncio.TaskGroup() as group:
        listed = group.create_task(
            certificates.list_all(
                context,
                visitor.actor,
                project=project,
                status=query.status,
                sort="expiry",
                cursor=query.cursor or None,
                limit=_PER_PAGE,
            )
        )
        counted = group.create_task(_counts(context, visitor, project))
        known = group.create_task(_authorities(context, visitor))
    items, now = listed.result().items, clock.now()
    known_lives = {one.domain: life for one in items if (life := _life(one)) is not None}
    axis = lives.axis(known_lives.values(), now)
    return page(
        "certificates.html",
        visitor,
        query=query,
        items=[
            (
                one,
                lives.bar(axis, known_lives[one.domain], renewal=one.next_renewal_at)
                if one.domain in known_lives
                else None,
            )
            for one in items
        ],
        axis=axis if known_lives else None,
        next_cursor=listed.result().next_cursor,
        counts=counted.result(),
        authorities=known.result(),
        meaning=troubles.meaning,
    )


@router.post("/certificates")
async def issue(context: ContextOf, sent: SentOf) -> Response:
    """Orders one."""
    domain = sent.get("domain")
    by_person = sent.get("challenge") == "by-person"
    body = asked(
        lambda: NewCertificate.model_validate(
            {
                "challenge": ChallengeType.DNS_01 if by_person else sent.get("challenge"),
                "names": sent.get("names").replace(",", " ").split() or None,
                "project": sent.get("project") or None,
                "ca": sent.get("ca") or None,
                "by_person": by_person,
            }
        )
    )
    if not domain:
        raise LifecycleError(Code.INVALID_REQUEST, problem="domain: name the domain to certify", field="domain")
    answer = await certificates.issue(domain, body, context, sent.visitor.actor, Response())
    return notices.done(_path(answer.domain), "issue")


@router.get("/certificates/{domain}")
async def show(domain: str, context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """One certificate, with all that there was before it."""
    certificate = await certificates.show(domain, context, visitor.actor, Response())
    life, now = _life(certificate), clock.now()
    axis = None if life is None else lives.axis([life], now)
    return page(
        "certificate.html",
        visitor,
        certificate=certificate,
        bar=None if life is None or axis is None else lives.bar(axis, life, renewal=certificate.next_renewal_at),
        axis=axis,
        steps=lineage.steps(certificate.versions, revoked_at=certificate.revoked_at, now=now),
        reasons=lineage.REASONS,
        meaning=troubles.meaning(certificate.last_error),
        is_used=certificate.serial is not None and certificate.revoked_at is None,
        done=DONE.get(done, "") if _is_so(done, certificate) else "",
    )


@router.get("/certificates/{domain}/chain.pem")
async def chain(
    domain: str, context: ContextOf, visitor: VisitorOf, version: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """The certificate with its issuers, as a file."""
    answer = await certificates.chain(domain, context, visitor.actor, version)
    name = quote(f"{domain.replace('*', '_')}{'' if version is None else f'-{version}'}.pem", safe="")
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    return answer


@router.get("/certificates/{domain}/{verb}")
async def confirm(domain: str, verb: str, context: ContextOf, visitor: VisitorOf) -> Response:
    """Says what renewing, revoking or giving up will do, and asks."""
    wanted = verbs.known(Verb, verb, f"/certificates/{domain}")
    if wanted not in _CONFIRMED:
        raise LifecycleError(Code.NOT_FOUND, path=f"/certificates/{domain}/{verb}"[:300])
    certificate = await certificates.show(domain, context, visitor.actor, Response())
    needs = _CONFIRMED[wanted]
    return page(
        "certificate_confirm.html",
        visitor,
        certificate=certificate,
        verb=wanted.value,
        needs=needs.value,
        may=visitor.actor.role.includes(needs),
        revocations=list(RevocationReason),
    )


@router.post("/certificates/{domain}/{verb}")
async def act(domain: str, verb: str, context: ContextOf, sent: SentOf) -> Response:
    """Does it, to exactly the generation that was shown."""
    actor, answer = sent.visitor.actor, Response()
    generation = if_match(sent.get("generation") or None)
    match wanted := verbs.known(Verb, verb, f"/certificates/{domain}"):
        case Verb.RENEW:
            body = Renewal(force=sent.get("force") == "on")
            await certificates.renew(domain, context, actor, answer, body, generation)
        case Verb.REVOKE:
            given: Mapping[str, Any] = {"reason": sent.get("reason")}
            await certificates.revoke(
                domain, context, actor, answer, asked(lambda: Revocation.model_validate(given)), generation
            )
        case Verb.HALT:
            await certificates.halt(domain, context, actor, answer, generation)
        case Verb.PUBLISHED:
            await certificates.records_published(domain, context, actor, answer)
    return notices.done(_path(domain), wanted.value)


def _is_so(done: str, certificate: CertificateAnswer) -> bool:
    """Whether what was asked for a moment ago is still under way."""
    match done:
        case "issue":
            return certificate.status is Status.ISSUING
        case "renew":
            return certificate.status in (Status.RENEWING, Status.ISSUING)
        case "revoke":
            return certificate.revoked_at is None
        case _:
            return True


async def _counts(context: Context, visitor: Visitor, project: str | None) -> Sequence[tuple[Status, int]]:
    """How many there are of each status, of what the page is about."""
    found = await expiry_store.count_by_status(context.db, visitor.actor.workspace, project=project)
    return [(one, found.get(one.value, 0)) for one in _SHOWN_STATUSES]


async def _authorities(context: Context, visitor: Visitor) -> tuple[AuthorityAnswer, ...] | None:
    """The authorities; None when they did not say in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_AUTHORITIES_WITHIN):
            return (await authorities.list_all(context, visitor.actor)).items
    return None


def _life(certificate: CertificateSummary) -> Life | None:
    if certificate.not_before is None or certificate.not_after is None:
        return None
    return Life(not_before=certificate.not_before, not_after=certificate.not_after)


def _path(domain: str) -> str:
    return f"/certificates/{quote(domain, safe='')}"
