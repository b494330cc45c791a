"""Rollout: brings one deployment up, step by step, and asks for it to go live.

    build ──> start ──> wait until ready ──> assign domains ──> scrape ──> activate ──> finalize ──> settle
                                                       DeploymentService, RoutingService ┘

Workflow key: deployment id. It decides nothing: whether the deployment goes live, what is undone when it fails, and
which one is next, is for DeploymentService, which is told how this ended.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import restate
from restate import Workflow, WorkflowContext, WorkflowSharedContext

from lifecycle import policies, resources
from lifecycle.deploy import builds, launch, routing, steps, store
from lifecycle.deploy.launch import Health, Launch
from lifecycle.deploy.model import Activate, Activation, Settled, Spec, Status
from lifecycle.deploy.steps import Step
from lifecycle.models import Durable

ACTIVATED = "activated"
HALTED = "halted"
READY = "ready"
UPLOADED = "uploaded"

# A build is one step; the engine must not take its silence for a hung worker.
_LONGEST_STEP = timedelta(minutes=40)
_LOOK_AGAIN_FIRST, _LOOK_AGAIN_LATER = timedelta(milliseconds=200), timedelta(seconds=5)
_WATCH_EVERY = timedelta(seconds=2)
# So many bad looks in a row are an illness; one may be a hiccup.
_ILL_AFTER = 3

rollout = Workflow(
    "Rollout",
    description="Brings one deployment up, step by step, and asks for it to go live.",
    inactivity_timeout=_LONGEST_STEP,
    invocation_retry_policy=policies.PLATFORM.invocations(),
)


class Limits(Durable):
    """How long a rollout may wait."""

    ready_seconds: float
    upload_seconds: float


@rollout.main(ingress_private=True)
async def run(ctx: WorkflowContext, spec: Spec) -> None:
    """Roll one deployment out."""
    limits = await ctx.run_typed("accept", _accept, policies.DATABASE.options(Limits), spec=spec)
    failure = await _bring_up(ctx, spec, limits) or await _go_live(ctx, spec)
    if failure is None:
        await _settle(ctx, spec, Status.READY)
        await _watch(ctx, spec)
    else:
        await _settle(ctx, spec, Status.FAILED, message=failure)


@rollout.handler(ingress_private=True)
async def activated(ctx: WorkflowSharedContext, activation: Activation) -> None:
    """What became of the request to go live."""
    await ctx.promise(ACTIVATED, type_hint=Activation).resolve(activation)


@rollout.handler(ingress_private=True)
async def halt(ctx: WorkflowSharedContext) -> None:
    """The deployment is not wanted any more."""
    await ctx.promise(HALTED, type_hint=bool).resolve(True)


@rollout.handler()
async def instances_ready(ctx: WorkflowSharedContext) -> None:
    """Somebody who knows says that the instances are ready."""
    await ctx.promise(READY, type_hint=bool).resolve(True)


@rollout.handler()
async def source_expected(ctx: WorkflowSharedContext) -> bool:
    """Whether the tarball may still come."""
    return all([await ctx.promise(name, type_hint=bool).peek() is None for name in (UPLOADED, HALTED)])


@rollout.handler()
async def source_uploaded(ctx: WorkflowSharedContext) -> None:
    """The tarball is complete; only the first time counts."""
    uploaded = ctx.promise(UPLOADED, type_hint=bool)
    if await uploaded.peek() is None:
        await uploaded.resolve(True)


async def _bring_up(ctx: WorkflowContext, spec: Spec, limits: Limits) -> str | None:
    """Have the instances running and healthy; returns why it cannot be done."""
    if spec.source and (failure := await _build(ctx, spec, limits)):
        return failure
    if await _halted(ctx):
        return "It was cancelled."
    started = await ctx.run_typed(Step.START.title, _start, policies.PLATFORM.options(Launch), spec=spec)
    if started.refused:
        return started.refused
    health = await _wait_until_ready(ctx, spec, limits)
    ended = await ctx.run_typed("end-of-wait", _end_wait, policies.DATABASE.options(Health), spec=spec, health=health)
    return None if ended.ready else ended.message


async def _build(ctx: WorkflowContext, spec: Spec, limits: Limits) -> str | None:
    await ctx.run_typed("begin-build", _begin_build, policies.DATABASE.options(type(None)), spec=spec)
    which = await restate.select(
        uploaded=ctx.promise(UPLOADED, type_hint=bool).value(),
        halted=ctx.promise(HALTED, type_hint=bool).value(),
        late=ctx.sleep(timedelta(seconds=limits.upload_seconds)),
    )
    if which[0] == "halted":
        return "It was cancelled."
    late = which[0] == "late"
    built = await ctx.run_typed(Step.BUILD.title, _build_image, policies.PLATFORM.options(Launch), spec=spec, late=late)
    return built.refused or None


async def _wait_until_ready(ctx: WorkflowContext, spec: Spec, limits: Limits) -> Health:
    latest = await ctx.time() + limits.ready_seconds
    pause = _LOOK_AGAIN_FIRST
    number = 0
    await ctx.run_typed("begin-wait", _begin, policies.DATABASE.options(type(None)), spec=spec, step=Step.READY.name)
    while True:
        health = await ctx.run_typed(f"look-{number}", _look, policies.PLATFORM.options(Health), spec=spec)
        if health.ready or health.gone or await ctx.time() > latest:
            return health
        which = await restate.select(
            told=ctx.promise(READY, type_hint=bool).value(),
            halted=ctx.promise(HALTED, type_hint=bool).value(),
            again=ctx.sleep(pause),
        )
        if which[0] == "told":
            return Health(ready=True)
        if which[0] == "halted":
            return Health(ready=False, gone=True, message="It was cancelled.")
        number += 1
        pause = min(pause * 2, _LOOK_AGAIN_LATER)


async def _go_live(ctx: WorkflowContext, spec: Spec) -> str | None:
    """Have the routes moved and the result confirmed; returns why it cannot be done."""
    await ctx.run_typed("begin-assign", _begin, policies.DATABASE.options(type(None)), spec=spec, step=Step.ASSIGN.name)
    await ctx.object_call(routing.assign_domains, spec.project, spec)
    await ctx.run_typed("end-assign", _end, policies.DATABASE.options(type(None)), spec=spec, step=Step.ASSIGN.name)
    await ctx.run_typed(Step.SCRAPE.title, _scrape, policies.DATABASE.options(type(None)), spec=spec)
    await ctx.run_typed(
        "begin-activate", _begin, policies.DATABASE.options(type(None)), spec=spec, step=Step.ACTIVATE.name
    )
    _tell(ctx, spec, "activate", Activate(deployment=spec.id, now=await _now(ctx)))
    activation = await ctx.promise(ACTIVATED, type_hint=Activation).value()
    await ctx.run_typed(
        "end-activate",
        _end,
        policies.DATABASE.options(type(None)),
        spec=spec,
        step=Step.ACTIVATE.name,
        error=activation.reason,
    )
    if not activation.accepted or await _halted(ctx):
        return "It was cancelled."
    health = await ctx.run_typed(Step.FINALIZE.title, _finalize, policies.PLATFORM.options(Health), spec=spec)
    return None if health.ready else health.message


async def _watch(ctx: WorkflowContext, spec: Spec) -> None:
    """After it went live: look at its health for as long as was asked, and give up when it stays ill."""
    latest = await ctx.time() + spec.watch_seconds
    ill = 0
    number = 0
    while await ctx.time() < latest:
        await ctx.sleep(_WATCH_EVERY)
        health = await ctx.run_typed(f"watch-{number}", _glance, policies.PLATFORM.options(Health), spec=spec)
        ill = 0 if health.ready else ill + 1
        number += 1
        if ill >= _ILL_AFTER:
            await _settle(ctx, spec, Status.FAILED, message=health.message, watched=True)
            return


async def _settle(
    ctx: WorkflowContext, spec: Spec, status: Status, *, message: str = "", watched: bool = False
) -> None:
    settled = Settled(deployment=spec.id, status=status, now=await _now(ctx), message=message, watched=watched)
    _tell(ctx, spec, "settle", settled)


def _tell(ctx: WorkflowContext, spec: Spec, handler: str, message: Durable) -> None:
    # An answer upward is a send by name: an import would make a ring of services that wait for each other.
    ctx.generic_send("DeploymentService", handler, message.model_dump_json().encode(), key=spec.project)


async def _halted(ctx: WorkflowContext) -> bool:
    return await ctx.promise(HALTED, type_hint=bool).peek() is not None


async def _now(ctx: WorkflowContext) -> datetime:
    return datetime.fromtimestamp(await ctx.time(), UTC)


async def _accept(spec: Spec) -> Limits:
    available = resources.current()
    await store.insert(available.db, spec)
    return Limits(
        ready_seconds=available.settings.deploy_ready_within.total_seconds(),
        upload_seconds=available.settings.deploy_upload_within.total_seconds(),
    )


async def _begin(spec: Spec, step: str) -> None:
    await steps.begin(spec.id, Step[step])


async def _end(spec: Spec, step: str, error: str = "") -> None:
    await steps.end(spec.id, Step[step], error)


async def _begin_build(spec: Spec) -> None:
    await steps.begin(spec.id, Step.BUILD)


async def _build_image(spec: Spec, *, late: bool) -> Launch:
    refused = "The source was never uploaded." if late else ""
    return await _recorded(spec, Step.BUILD, partial(builds.build, spec, refused))


async def _start(spec: Spec) -> Launch:
    return await _recorded(spec, Step.START, partial(launch.start, spec))


async def _recorded(spec: Spec, step: Step, work: Callable[[], Awaitable[Launch]]) -> Launch:
    return await steps.recorded(spec.id, step, work, error=lambda verdict: verdict.refused)


async def _look(spec: Spec) -> Health:
    return await steps.showing_trouble(spec.id, Step.READY, partial(launch.look, spec))


async def _end_wait(spec: Spec, health: Health) -> Health:
    """Say why it did not get ready, with what it printed last."""
    message = health.message
    if not health.ready and (log := await launch.tail(spec.id)):
        message = f"{message} It printed:\n{log}"
    await steps.end(spec.id, Step.READY, "" if health.ready else message)
    return health.model_copy(update={"message": message})


async def _scrape(spec: Spec) -> None:
    async def work() -> None:
        document = await launch.openapi(spec)
        if document is not None:
            await store.set_openapi(resources.current().db, spec.id, document)

    await steps.recorded(spec.id, Step.SCRAPE, work)


async def _finalize(spec: Spec) -> Health:
    return await steps.recorded(
        spec.id, Step.FINALIZE, partial(launch.look, spec), error=lambda health: "" if health.ready else health.message
    )


async def _glance(spec: Spec) -> Health:
    return await launch.glance(spec)
