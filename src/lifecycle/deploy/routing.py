"""RoutingService: the routes of a project, in the database and in the gateway.

    assign_domains    names are reserved; nothing moves yet
    switch_domains    one transaction, then the gateway ──> DeploymentService.switched
    add_domain        a claim, which DomainVerification proves before it is routed

Object key: project id. Orders arrive one by one; each is a change in the database, and after it the gateway is told
what the database says. So an order that is repeated, or late, does no harm. Decisions are made elsewhere.
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from restate import ObjectContext, VirtualObject

from lifecycle import clock, policies, resources
from lifecycle.deploy import domains, routing_store, sentinel, steps, store
from lifecycle.deploy.gateway import Change
from lifecycle.deploy.model import Environment, Spec, Switch, Switched
from lifecycle.deploy.steps import Step
from lifecycle.deploy.verification import service as verification
from lifecycle.deploy.verification import store as verification_store
from lifecycle.deploy.verification.model import Begin, Forget
from lifecycle.deploy.verification.store import Refusal
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Durable

routing_service = VirtualObject(
    "RoutingService",
    description="The routes of a project, in the database and in the gateway.",
    journal_retention=timedelta(0),  # the audit log has the decisions
    invocation_retry_policy=policies.DECISION.invocations(),
)


class Suspension(Durable):
    """Until when the project's hosts say that it will be deleted."""

    until: datetime


class CustomDomain(Durable):
    """A domain that somebody brings along.

    Attributes:
        token: a fresh one, for the TXT record; made anew where a message of an older release has none.
        actor: who asks; None in messages of an older release.
    """

    hostname: str
    environment: Environment = Environment.PRODUCTION
    token: str = ""
    actor: Actor | None = None


@routing_service.handler(ingress_private=True)
async def assign_domains(ctx: ObjectContext, spec: Spec) -> None:
    """Reserve the generated names of a deployment, and let the gateway know where its instances are."""
    await ctx.run_typed("claim-names", _claim, policies.DATABASE.options(type(None)), spec=spec)
    await _publish(ctx, Waiting(deployment=spec.id, step=Step.ASSIGN.name))


@routing_service.handler(ingress_private=True)
async def switch_domains(ctx: ObjectContext, order: Switch) -> None:
    """Move routes, live pointer and pin in one piece; answers when the gateway has confirmed it."""
    await ctx.run_typed("move-routes", _move, policies.DATABASE.options(type(None)), project=ctx.key(), order=order)
    waiting = Waiting(deployment=order.deployment, step=Step.ACTIVATE.name) if order.tells_rollout else None
    await _tell_gateway(ctx, waiting)
    message = Switched(order=order, now=datetime.fromtimestamp(await ctx.time(), UTC))
    # An answer upward is a send by name: an import would make a ring of services that wait for each other.
    ctx.generic_send("DeploymentService", "switched", message.model_dump_json().encode(), key=ctx.key())


@routing_service.handler(ingress_private=True)
async def suspend(ctx: ObjectContext, suspension: Suspension) -> None:
    """Let every host of the project answer that it will be deleted."""
    until: datetime | None = suspension.until
    await ctx.run_typed("suspend", _suspend, policies.DATABASE.options(type(None)), project=ctx.key(), until=until)
    await _tell_gateway(ctx)


@routing_service.handler(ingress_private=True)
async def resume(ctx: ObjectContext) -> None:
    """Let the project's hosts serve again."""
    await ctx.run_typed("resume", _suspend, policies.DATABASE.options(type(None)), project=ctx.key(), until=None)
    await _tell_gateway(ctx)


@routing_service.handler(ingress_private=True)
async def refresh(ctx: ObjectContext) -> None:
    """Instances came or went: let the gateway know where they are."""
    await _publish(ctx)


@routing_service.handler(ingress_private=True)
async def clear(ctx: ObjectContext) -> None:
    """Serve no host of the project any more."""
    await ctx.run_typed("clear", _clear, policies.DATABASE.options(type(None)), project=ctx.key())
    await _tell_gateway(ctx)


@routing_service.handler()
async def add_domain(ctx: ObjectContext, domain: CustomDomain) -> CustomDomain:
    """Write down that the project wants a domain, and begin to look for proof; without verification it has it now."""
    if not domain.token:
        domain = domain.model_copy(update={"token": ctx.uuid().hex})
    claimed = await ctx.run_typed(
        "claim-domain", _claim_custom, policies.DATABASE.options(Claim), project=ctx.key(), domain=domain
    )
    match claimed.refusal:
        case Refusal.NO_PROJECT:
            raise LifecycleError(Code.PROJECT_NOT_FOUND)
        case Refusal.ENDING:
            raise LifecycleError(Code.PROJECT_ENDING, project=ctx.key())
        case Refusal.TAKEN:
            raise LifecycleError(Code.DOMAIN_TAKEN, domain=domain.hostname, field="domain")
        case None:
            pass
    if claimed.ours:
        await _tell_gateway(ctx)
    command = Begin(
        project=ctx.key(),
        workspace=claimed.workspace,
        hostname=domain.hostname,
        environment=domain.environment,
        token=claimed.token,
        now=datetime.fromtimestamp(await ctx.time(), UTC),
        actor=domain.actor,
        verified=not claimed.verifies,
    )
    ctx.object_send(verification.verify, claimed.id, command)
    return domain


@routing_service.handler()
async def remove_domain(ctx: ObjectContext, domain: CustomDomain) -> None:
    """Take a domain away from the project. One that it does not have changes nothing."""
    released = await ctx.run_typed(
        "release-domain", _release_custom, policies.DATABASE.options(Release), project=ctx.key(), domain=domain
    )
    await _forget(ctx, domain.hostname)
    now = datetime.fromtimestamp(await ctx.time(), UTC)
    command = Forget(now=now, actor=domain.actor, certified=released.certified, issuing=released.issuing)
    ctx.object_send(verification.forget, released.id, command)


@routing_service.handler(ingress_private=True)
async def forget_domain(ctx: ObjectContext, domain: CustomDomain) -> None:
    """Another project has a domain now: let the gateway know that it is this one's no more."""
    await _forget(ctx, domain.hostname)


class Waiting(NamedTuple):
    """The rollout that waits for the gateway, and shows why; none waits for most changes."""

    deployment: str | None = None
    step: str = ""


class Claim(Durable):
    """What became of a wish for a domain.

    Attributes:
        ours: the project owns it.
        verifies: proof is to be looked for.
    """

    ours: bool
    id: str = ""
    workspace: str = ""
    token: str = ""
    verifies: bool = False
    refusal: Refusal | None = None


class Release(Durable):
    """A domain that was given back. `certified`: the project has a certificate for it alone, perhaps `issuing`."""

    id: str
    certified: bool
    issuing: bool


async def _publish(ctx: ObjectContext, waiting: Waiting | None = None) -> None:
    await ctx.run_typed("write-configs", _refresh, policies.DATABASE.options(type(None)), project=ctx.key())
    await _tell_gateway(ctx, waiting)


async def _forget(ctx: ObjectContext, hostname: str) -> None:
    await ctx.run_typed(
        "tell-gateway", _apply, policies.GATEWAY.options(type(None)), project=ctx.key(), gone=[hostname]
    )


async def _tell_gateway(ctx: ObjectContext, waiting: Waiting | None = None) -> None:
    await ctx.run_typed(
        "tell-gateway",
        _tell,
        policies.GATEWAY.options(type(None)),
        project=ctx.key(),
        waiting=waiting or Waiting(),
    )


async def _claim(spec: Spec) -> None:
    available = resources.current()
    names = domains.generated(
        project=spec.project,
        slug=spec.slug,
        workspace=spec.workspace_name,
        environment=spec.environment.value,
        branch=spec.branch,
        commit_sha=spec.commit_sha,
        deployment=spec.id,
        apex=available.settings.deploy_apex,
    )
    await routing_store.claim(available.db, spec, names, clock.now())


async def _claim_custom(project: str, domain: CustomDomain) -> Claim:
    available = resources.current()
    verify = available.settings.domains_verify
    claimed = await verification_store.claim(
        available.db, project, domain.hostname, domain.environment, domain.token, verify=verify, now=clock.now()
    )
    if isinstance(claimed, Refusal):
        return Claim(ours=False, refusal=claimed)
    return Claim(
        ours=claimed.status.owns,
        id=claimed.id,
        workspace=claimed.workspace,
        token=claimed.token,
        verifies=verify,
    )


async def _release_custom(project: str, domain: CustomDomain) -> Release:
    released = await verification_store.release(resources.current().db, project, domain.hostname)
    return Release(**released._asdict())


async def _move(project: str, order: Switch) -> None:
    await routing_store.switch(resources.current().db, project, order)


async def _suspend(project: str, until: datetime | None) -> None:
    await routing_store.suspend(resources.current().db, project, until)


async def _refresh(project: str) -> None:
    await routing_store.refresh(resources.current().db, project)


async def _clear(project: str) -> None:
    await routing_store.clear(resources.current().db, project)


async def _tell(project: str, waiting: Waiting) -> None:
    if waiting.deployment is None:
        await _apply(project, [])
    else:
        await steps.showing_trouble(waiting.deployment, Step[waiting.step], partial(_apply, project, []))


async def _apply(project: str, gone: list[str]) -> None:
    """Tell the gateway all that the database says of the project; the generation comes first, so it is never ahead."""
    available = resources.current()
    if available.gateway is None:
        return
    generation = await routing_store.generation(available.db, project)
    routes = await routing_store.routes(available.db, project)
    hosts, targets = sentinel.gateway_view(await routing_store.configs(available.db, project))
    absent_hosts: dict[str, str | None] = dict.fromkeys([*gone, *(route.hostname for route in routes)])
    absent_targets: dict[str, tuple[str, ...] | None] = dict.fromkeys(await store.ids_of_project(available.db, project))
    await available.gateway.apply(
        Change(
            project=project,
            generation=generation,
            hosts={**absent_hosts, **hosts},
            targets={**absent_targets, **targets},
        )
    )
