"""/v1/projects/{project}/domains: the host names of a project."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from lifecycle import clock
from lifecycle.api.context import ActorOf, Context, ContextOf, require
from lifecycle.api.paths import UNQUOTED
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes.domains import DomainAnswer, DomainList, NewDomain, custom_answer
from lifecycle.certs import names
from lifecycle.certs import store as certificates_store
from lifecycle.certs.model import IssueCertificate, Wish
from lifecycle.certs.names import ChallengeType, Identifier, Offer
from lifecycle.deploy import domains, hosts_store, routing_store
from lifecycle.deploy.routing import CustomDomain
from lifecycle.deploy.verification import rules
from lifecycle.deploy.verification import store as verification_store
from lifecycle.deploy.verification.model import Begin, Retry, Status
from lifecycle.deploy.verification.rules import Ways
from lifecycle.deploy.verification.store import Listed
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role
from lifecycle.scheduler import store

router = APIRouter(prefix="/v1/projects/{project}/domains", tags=["domains"])

DomainRef = Annotated[
    str, UNQUOTED, Path(max_length=300, description="A domain that was added.", examples=["www.example.com"])
]

_log = logging.getLogger(__name__)

# Whatever some CA could have certified; only whether others register below it matters.
_ANY = Offer(addresses=True, internal=True)
_MOST_UNVERIFIED = 50
# Long enough for servers that answer, short enough to say so when they do not.
_LOOK_WITHIN = timedelta(seconds=5)
_LOOK_AGAIN_AFTER = timedelta(milliseconds=100)


@router.post("", status_code=201, summary="Add a domain")
async def add(project: ProjectRef, body: NewDomain, context: ContextOf, actor: ActorOf) -> DomainAnswer:
    """Gives the project a domain, served by what is live in its environment. Needs the role operator.

    Set the `records` of the answer: it is looked for them at once, and again after ten seconds, one, five and fifteen
    minutes, then every hour for a week. The domain is served as soon as one is found: the TXT record, or, while no
    other project has the domain or asks for it, the record that leads visitors here. Then a certificate is asked for
    by itself. A domain of another project is taken over by the TXT record only.
    """
    require(actor, Role.OPERATOR)
    project_id = await _project(context, actor, project)
    hostname = domains.custom(body.domain, apex=context.settings.deploy_apex)
    _check_registrable(hostname)
    if context.settings.domains_verify:
        rules.challenge_name(hostname)
        await _check_count(context, project_id)
    wanted = CustomDomain(hostname=hostname, environment=body.environment, token=secrets.token_hex(16), actor=actor)
    await context.client.add_domain(project_id, wanted)
    if not context.settings.domains_verify:
        await _certify(context, actor, project_id, hostname)
    return await _find(context, project_id, hostname)


@router.get("", summary="List domains")
async def list_all(project: ProjectRef, context: ContextOf, actor: ActorOf) -> DomainList:
    """Lists every host name of the project, given by itself or brought along, with the state of its DNS records."""
    project_id = await _project(context, actor, project)
    return DomainList(items=await answers(context, project_id, await routing_store.routes(context.db, project_id)))


@router.get("/{domain}", summary="Show a domain")
async def show(project: ProjectRef, domain: DomainRef, context: ContextOf, actor: ActorOf) -> DomainAnswer:
    """Shows a domain that was added, with the DNS records to set and how each was found."""
    project_id = await _project(context, actor, project)
    return await _find(context, project_id, domains.custom(domain, apex=context.settings.deploy_apex))


@router.post("/{domain}/verify", summary="Verify a domain now")
async def verify(project: ProjectRef, domain: DomainRef, context: ContextOf, actor: ActorOf) -> DomainAnswer:
    """Looks at the DNS records of a domain now, and waits a few seconds for the outcome. Needs the role operator.

    What was given up or lost is tried again from the beginning. `checked_at` says whether the answer is of this look.
    """
    require(actor, Role.OPERATOR)
    project_id = await _project(context, actor, project)
    hostname = domains.custom(domain, apex=context.settings.deploy_apex)
    listed = await _listed(context, project_id, hostname)
    if context.settings.domains_verify:
        retry = _retry(actor, listed)
        await context.client.verify_domain(listed.claim.id, retry)
        await _until_looked(context, retry)
    return await _find(context, project_id, hostname)


@router.delete("/{domain}", status_code=204, summary="Remove a domain")
async def remove(project: ProjectRef, domain: DomainRef, context: ContextOf, actor: ActorOf) -> None:
    """Takes a domain away from the project that was added to it. Needs the role operator.

    A certificate for this name alone is renewed no more, and left to expire.
    """
    require(actor, Role.OPERATOR)
    project_id = await _project(context, actor, project)
    hostname = domains.custom(domain, apex=context.settings.deploy_apex)
    claim = (await _listed(context, project_id, hostname)).claim
    wanted = CustomDomain(hostname=hostname, environment=claim.environment, actor=actor)
    await context.client.remove_domain(project_id, wanted)


async def answers(context: Context, project: str, found: Sequence[routing_store.Route]) -> tuple[DomainAnswer, ...]:
    """These routes of a project, and every domain that it brought along, by name."""
    claims = await verification_store.listed(context.db, project)
    routes = {route.hostname: route for route in found}
    named = [given(route) for route in found if route.hostname not in claims]
    brought_along = [_answer(context, project, claim, routes.get(host)) for host, claim in claims.items()]
    return tuple(sorted([*named, *brought_along], key=lambda one: one.domain))


async def brought(context: Context, project: str, *, limit: int) -> tuple[DomainAnswer, ...]:
    """As many domains that a project brought along, by name, each with what it shows."""
    claims = await verification_store.first(context.db, project, limit=limit)
    routes = {route.hostname: route for route in await hosts_store.named(context.db, project, list(claims))}
    return tuple(_answer(context, project, claim, routes.get(host)) for host, claim in claims.items())


def given(route: routing_store.Route, status: Status = Status.VERIFIED) -> DomainAnswer:
    """A host name that is routed; `status` is that of the claim to it, if it was brought along."""
    return DomainAnswer(
        domain=route.hostname,
        kind=route.kind,
        environment=route.environment,
        deployment=route.deployment,
        status=status,
    )


async def _project(context: Context, actor: Actor, reference: str) -> str:
    row = await store.find_project(context.db, workspace=actor.workspace, reference=reference)
    if row is None:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    return row.id


def _check_registrable(hostname: str) -> None:
    """Refuse a name below which others register theirs: nobody's visitors and certificates may depend on it."""
    try:
        names.identifiers([hostname], offer=_ANY, challenge=ChallengeType.HTTP_01)
    except LifecycleError as error:
        if error.code is Code.CERTIFICATE_NAME_PUBLIC_SUFFIX:
            problem = "it is a public suffix, below which names are registered"
            raise LifecycleError(Code.DOMAIN_INVALID, domain=hostname, problem=problem, field="domain") from error


async def _certify(context: Context, actor: Actor, project: str, hostname: str) -> None:
    """Ask for a certificate of a domain that nobody verifies, as `DomainVerification` does for one that is verified.

    The domain is added already, so what keeps it from a certificate is no refusal; adding it again asks again.
    """
    if not (context.settings.domains_certificates and context.certificates.authority):
        return
    if await certificates_store.keepers(context.db, [hostname]):
        return  # it stays as it was ordered
    wish = Wish(identifiers=(Identifier(value=hostname),), challenge=ChallengeType.HTTP_01)
    command = IssueCertificate(actor=actor, now=clock.now(), project=project, wish=wish)
    try:
        await context.client.issue_certificate(hostname, command)
    except LifecycleError as error:
        _log.warning("no certificate was asked for: %s", error.message)


async def _check_count(context: Context, project: str) -> None:
    if await verification_store.count_unverified(context.db, project) >= _MOST_UNVERIFIED:
        raise LifecycleError(Code.TOO_MANY_DOMAINS, limit=str(_MOST_UNVERIFIED))


async def _listed(context: Context, project: str, hostname: str) -> Listed:
    found = (await verification_store.listed(context.db, project)).get(hostname)
    if found is None:
        raise LifecycleError(Code.DOMAIN_NOT_FOUND, domain=hostname)
    return found


async def _find(context: Context, project: str, hostname: str) -> DomainAnswer:
    listed = await _listed(context, project, hostname)
    routes = await routing_store.routes(context.db, project)
    return _answer(context, project, listed, next((one for one in routes if one.hostname == hostname), None))


async def _until_looked(context: Context, retry: Retry) -> None:
    """Wait until this look, or a later one, has come to something; not for long, for servers may not answer.

    One that was under way already may have asked DNS before the record was set.
    """
    latest = clock.now() + _LOOK_WITHIN
    while clock.now() < latest:
        found = (await verification_store.listed(context.db, retry.claim.project)).get(retry.claim.hostname)
        if found is None or (found.claim.begun_at is not None and found.claim.begun_at >= retry.now):
            return
        await asyncio.sleep(_LOOK_AGAIN_AFTER.total_seconds())


def _retry(actor: Actor, listed: Listed) -> Retry:
    claim, now = listed.claim, clock.now()
    begin = Begin(
        project=claim.project,
        workspace=actor.workspace,
        hostname=claim.hostname,
        environment=claim.environment,
        token=claim.token,
        now=now,
    )
    return Retry(actor=actor, now=now, claim=begin, status=claim.status, version=claim.version)


def _answer(context: Context, project: str, listed: Listed, route: routing_store.Route | None) -> DomainAnswer:
    return custom_answer(listed, None if route is None else route.deployment, _ways(context, project))


def _ways(context: Context, project: str) -> Ways | None:
    settings = context.settings
    if not settings.domains_verify:
        return None
    return rules.ways(project, base=settings.cname_target, addresses=[str(one) for one in settings.gateway_addresses])
