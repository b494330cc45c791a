"""What is seen to before a certificate is asked for, so that no mistake costs a request to the CA.

names ──> is there a CA, and does it give these? ──> whose are they? ──> whose project? ──> may we publish TXT records?
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import NamedTuple

from lifecycle.api.context import Context
from lifecycle.api.shapes.certificates import NewCertificate
from lifecycle.certs import acme, names, store
from lifecycle.certs.authorities import Terms, unavailable
from lifecycle.certs.model import Wish
from lifecycle.certs.names import ChallengeType, Identifier, Offer
from lifecycle.deploy import routing_store
from lifecycle.deploy.verification import store as verification_store
from lifecycle.deploy.verification.model import Status
from lifecycle.errors import Code, LifecycleError, shown
from lifecycle.models import Actor
from lifecycle.scheduler import store as project_store

# All of these leave time for the engine within the deadline of a request.
_DIRECTORY_DEADLINE = timedelta(seconds=2.5)
_DIRECTORIES_DEADLINE = timedelta(seconds=5)
_ZONE_DEADLINE = timedelta(seconds=2)
_PURGING = "purging"
# Any name that a CA could have certified.
_ANY = Offer(addresses=True, internal=True)


class Prepared(NamedTuple):
    """A certificate that may be asked for.

    Attributes:
        domain: under which it is kept: the name in the path, in its canonical form.
        ca: whose terms these are; the order may go to another one while that one does not work.
    """

    domain: str
    wish: Wish
    project: str | None
    ca: str
    terms: Terms


def key_of(domain: str) -> str:
    """The canonical form of a domain, under which its certificate is kept.

    Raises:
        LifecycleError: CERTIFICATE_NOT_FOUND, for what no certificate can have; CERTIFICATE_NAME_INVALID for a URL
            and the like, with the host name that was probably meant.
    """
    challenge = ChallengeType.DNS_01 if domain.startswith("*.") else ChallengeType.HTTP_01
    try:
        return names.identifiers([domain], offer=_ANY, challenge=challenge)[0].value
    except LifecycleError as error:
        if "/" in domain and error.code is Code.CERTIFICATE_NAME_INVALID:
            raise
        raise LifecycleError(Code.CERTIFICATE_NOT_FOUND, domain=shown(domain)) from error


async def prepare(context: Context, actor: Actor, domain: str, body: NewCertificate) -> Prepared:
    """See to all that can be known without DNS.

    Raises:
        LifecycleError: for a bad name, another's name, an unknown project, CA or profile, a CA that is none.
    """
    ca, terms = await _terms(context, body)
    wanted = names.identifiers(
        list(dict.fromkeys((domain, *(body.names or ())))), offer=terms.offer, challenge=body.challenge
    )
    key = names.identifiers([domain], offer=terms.offer, challenge=body.challenge)[0].value
    project = await _project(context, actor, body.project, key, wanted)
    wish = Wish(
        identifiers=wanted,
        challenge=body.challenge,
        ca=body.ca,
        profile=body.profile,
        by_person=body.by_person and body.challenge is ChallengeType.DNS_01,
    )
    return Prepared(key, wish, project, ca, terms)


async def check_zones(context: Context, wish: Wish) -> None:
    """See that we have a zone and what opens it, where TXT records are ours to publish.

    What DNS does not say in time is left to the issuance, which asks again.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_MISSING, CERTIFICATE_ZONE_CREDENTIALS.
    """
    if wish.challenge is not ChallengeType.DNS_01 or wish.by_person:
        return
    records = {acme.validation_name(one) for one in wish.identifiers}
    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(_zone_refusal(context, record)) for record in sorted(records)]
    for look in looks:
        if (refusal := look.result()) is not None:
            raise refusal


async def _zone_refusal(context: Context, record: str) -> LifecycleError | None:
    """Why we cannot publish this record; None also when DNS does not say in time."""
    try:
        async with asyncio.timeout(_ZONE_DEADLINE.total_seconds()):
            await context.publisher.zone_for(record)
    except TimeoutError:
        return None
    except LifecycleError as error:
        return error
    return None


async def _terms(context: Context, body: NewCertificate) -> tuple[str, Terms]:
    """The CA that is wanted, or the first that answers, and what it gives."""
    candidates = [one.name for one in context.certificates.authority if not one.rehearsal_only]
    if not candidates:
        raise LifecycleError(Code.AUTHORITIES_MISSING)
    if body.ca is not None:
        if body.ca not in candidates:
            raise LifecycleError(
                Code.AUTHORITY_UNKNOWN, authority=body.ca, authorities=", ".join(candidates), field="ca"
            )
        candidates = [body.ca]
    first: LifecycleError | None = None
    clock = asyncio.get_running_loop().time
    deadline = clock() + _DIRECTORIES_DEADLINE.total_seconds()
    for ca in candidates:
        try:
            async with asyncio.timeout_at(min(deadline, clock() + _DIRECTORY_DEADLINE.total_seconds())):
                return ca, await context.authorities.check(ca, body.profile)
        except TimeoutError:
            first = first or unavailable(ca, "no answer in time")
        except LifecycleError as error:
            if error.code not in {Code.AUTHORITY_UNAVAILABLE, Code.AUTHORITY_NOT_ACME}:
                raise
            first = first or error
    raise first or LifecycleError(Code.AUTHORITIES_MISSING)


async def _project(
    context: Context, actor: Actor, reference: str | None, domain: str, wanted: Sequence[Identifier]
) -> str | None:
    """The project that the certificate belongs to, after seeing that no name is somebody else's.

    Our gateway answers the challenges of everybody, so nothing but this keeps one workspace from getting a
    certificate for the domain of another.
    """
    values = [one.value for one in wanted]
    routes = await routing_store.owners(context.db, values)
    for route in routes:
        if route.workspace != actor.workspace:
            raise _taken(route.hostname)
    await _check_claims(context, actor, values)
    ours = {route.hostname: route.project for route in routes}
    # Whoever has a wildcard has proved that all below it is theirs, but for what was given to a project.
    covering = {f"*.{value.partition('.')[2]}" for value in values if value not in ours and not value.startswith("*.")}
    for name, workspace in (await store.keepers(context.db, [*values, *sorted(covering)])).items():
        if workspace != actor.workspace:
            raise _taken(name)
    for value in values:
        if value not in ours and not await _is_free(context, actor, value):
            raise _taken(value)
    reference = reference or ours.get(domain) or next(iter(ours.values()), None)
    if reference is None:
        return None
    row = await project_store.find_project(context.db, workspace=actor.workspace, reference=reference)
    if row is None:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    if row.state == _PURGING:
        raise LifecycleError(Code.PROJECT_ENDING, project=row.id)
    return row.id


async def _check_claims(context: Context, actor: Actor, values: Sequence[str]) -> None:
    """See that nobody else claims one of these domains; and, where domains are verified, that each is ours.

    Whoever has proved that a domain is theirs has proved it of all below it that is nobody else's.
    """
    apex = context.settings.deploy_apex
    wanted = {value.removeprefix("*.") for value in values if not f".{value}".endswith(f".{apex}")}
    parents = {host: _with_parents(host) for host in wanted if not _is_address(host)}
    claims = await verification_store.claimants(context.db, sorted(set().union(*parents.values())))
    for claim in claims:
        if claim.hostname in wanted and claim.workspace != actor.workspace:
            raise _taken(claim.hostname)
    owned = {
        claim.hostname
        for claim in claims
        if claim.workspace == actor.workspace and claim.status in (Status.VERIFIED, Status.DANGLING)
    }
    for host, names_above in parents.items():
        if context.settings.domains_verify and owned.isdisjoint(names_above):
            raise LifecycleError(Code.CERTIFICATE_DOMAIN_UNPROVEN, domain=host, field="names")


def _with_parents(host: str) -> frozenset[str]:
    labels = host.split(".")
    return frozenset(".".join(labels[place:]) for place in range(len(labels) - 1)) | {host}


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


async def _is_free(context: Context, actor: Actor, value: str) -> bool:
    """Whether a name that nothing of this workspace has may be certified for it."""
    apex = context.settings.deploy_apex
    if value in (apex, f"*.{apex}"):
        # Such a certificate covers every project of every workspace.
        return await context.acts_for_platform(actor)
    # A name of the platform is not free because nothing has it yet: it will be given to some project.
    return not value.endswith(f".{apex}")


def _taken(domain: str) -> LifecycleError:
    return LifecycleError(Code.CERTIFICATE_TAKEN, domain=domain, field="names")
