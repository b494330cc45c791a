"""InstanceService: starts and removes instances for those who only decide, and reports back.

    wake ──> healthy or not ──> DeploymentService.woken
    stop ──> routes forget them ──> removed, and seen to be gone

Object key: deployment id. It works, although it is an object: what starts instances and what removes them must not run
side by side. Nobody who has to be answered waits for this key. `upkeep` has a key of its own.
"""

import logging
from datetime import UTC, datetime, timedelta
from functools import partial

from restate import ObjectContext, VirtualObject

from lifecycle import clock, policies, resources
from lifecycle.deploy import launch, routing, routing_store, store
from lifecycle.deploy.model import Woken
from lifecycle.models import Durable

UPKEEP = "upkeep"  # the key of `upkeep`

instance_service = VirtualObject(
    "InstanceService",
    description="Starts and removes the instances of a deployment.",
    ingress_private=True,
    journal_retention=timedelta(0),
    invocation_retry_policy=policies.PLATFORM.invocations(),
)

# A woken deployment has run before; when it takes longer than this it is not going to be ready.
_WAKE_WITHIN = timedelta(minutes=2)
_LOOK_AGAIN_AFTER = timedelta(seconds=1)
# A request that was not accepted by then never will be: the API has given it up long before.
_ACCEPTED_WITHIN = timedelta(minutes=5)
_log = logging.getLogger(__name__)


class Target(Durable):
    """The instances of one deployment. `number` is that of an order to wake them, for the answer."""

    project: str
    deployment: str
    number: int = 0


class Missing(Durable):
    """Deployments that lack instances which are wanted."""

    targets: tuple[Target, ...] = ()


@instance_service.handler()
async def wake(ctx: ObjectContext, target: Target) -> None:
    """Start the instances again, and say when they are healthy."""
    health = await _wake(ctx, target)
    await ctx.object_call(routing.refresh, target.project, None)
    message = Woken(
        deployment=target.deployment,
        number=target.number,
        now=datetime.fromtimestamp(await ctx.time(), UTC),
        healthy=health.ready,
        message=health.message,
    )
    ctx.generic_send("DeploymentService", "woken", message.model_dump_json().encode(), key=target.project)


@instance_service.handler()
async def stop(ctx: ObjectContext, target: Target) -> None:
    """Remove the instances, after the gateway has stopped sending to them."""
    await ctx.run_typed("unwant", _unwant, policies.DATABASE.options(type(None)), target=target)
    await ctx.object_call(routing.refresh, target.project, None)
    await ctx.run_typed("remove", _remove, policies.PLATFORM.options(type(None)), target=target)


@instance_service.handler()
async def mend(ctx: ObjectContext, target: Target) -> None:
    """Start what is missing of instances that are still wanted, and let the gateway know where it is."""
    await ctx.run_typed("mend", _mend, policies.PLATFORM.options(type(None)), target=target)
    await ctx.object_call(routing.refresh, target.project, None)


@instance_service.handler()
async def upkeep(ctx: ObjectContext) -> None:
    """Bring gateway and instances to what the database says; what cannot be reached waits for the next time."""
    await ctx.run_typed("synchronise-gateway", _synchronise, policies.ENGINE.options(type(None)))
    missing = await ctx.run_typed("look-for-missing", _missing, policies.ENGINE.options(Missing))
    for target in missing.targets:
        ctx.object_send(mend, target.deployment, target)


async def _wake(ctx: ObjectContext, target: Target) -> launch.Health:
    started = await ctx.run_typed("start", _start, policies.PLATFORM.options(launch.Launch), target=target)
    if started.refused:
        return launch.Health(ready=False, gone=True, message=started.refused)
    latest = await ctx.time() + _WAKE_WITHIN.total_seconds()
    number = 0
    while True:
        health = await ctx.run_typed(f"look-{number}", _look, policies.PLATFORM.options(launch.Health), target=target)
        if health.ready or health.gone or await ctx.time() > latest:
            return health
        number += 1
        await ctx.sleep(_LOOK_AGAIN_AFTER)


async def _start(target: Target) -> launch.Launch:
    listing = await store.find(resources.current().db, target.deployment)
    if listing is None:
        return launch.Launch(refused="The deployment is gone.")
    return await launch.start(listing.spec)


async def _mend(target: Target) -> None:
    listing = await store.find(resources.current().db, target.deployment)
    if listing is not None and listing.running:
        await launch.start(listing.spec)


async def _look(target: Target) -> launch.Health:
    listing = await store.find(resources.current().db, target.deployment)
    if listing is None:
        return launch.Health(ready=False, gone=True, message="The deployment is gone.")
    return await launch.look(listing.spec)


async def _synchronise() -> None:
    available = resources.current()
    await store.fail_unaccepted(available.db, before=clock.now() - _ACCEPTED_WITHIN)
    if available.gateway is None:
        return
    differences = await available.gateway.synchronise(partial(routing_store.wanted, available.db))
    for difference in differences.found:
        # What nothing leads to any more is only swept up.
        level = logging.INFO if difference.wanted is None and difference.table != "hosts" else logging.WARNING
        _log.log(level, "gateway was mended: %s", difference)


async def _missing() -> Missing:
    found = await launch.missing()
    for project, deployment in found:
        _log.warning("deployment %s of %s lacks instances; they are started", deployment, project)
    return Missing(targets=tuple(Target(project=project, deployment=deployment) for project, deployment in found))


async def _unwant(target: Target) -> None:
    await store.unwant_instances(resources.current().db, target.deployment)


async def _remove(target: Target) -> None:
    await launch.stop(target.deployment)
