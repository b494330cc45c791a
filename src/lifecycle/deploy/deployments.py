"""DeploymentService: decides about the deployments of a project, one decision at a time.

    deploy ──> Rollout ──activate──> RoutingService ──switched──> StandbyService ──retire──> InstanceService
       rollback, promote, stop, wake, cancel: answered at once, whatever a rollout is doing

Object key: project id. State: `fleet`. The rules are in `rules` (what people ask) and `events` (what happens by
itself); here is only how a decision is carried out.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import assert_never

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from lifecycle import policies
from lifecycle.deploy import entries, events, instances, rollout, routing, rules, standby
from lifecycle.deploy.decision import (
    Decision,
    Effect,
    Halt,
    Keep,
    Rest,
    Resume,
    Roll,
    Rouse,
    Stand,
    Suspend,
    Tell,
    Turn,
)
from lifecycle.deploy.instances import Target
from lifecycle.deploy.model import Act, Activate, Deploy, Fleet, Follow, Retire, Settled, Switched, Woken
from lifecycle.ledger.service import record
from lifecycle.models import Durable

FLEET = "fleet"

deployment_service = VirtualObject(
    "DeploymentService",
    description="Decides about the deployments of a project.",
    invocation_retry_policy=policies.DECISION.invocations(),
)


class Sealed(Durable):
    """No deployment is taken any more. `rolling`: a rollout has not noticed yet."""

    rolling: bool


@deployment_service.handler()
async def deploy(ctx: ObjectContext, command: Deploy) -> Fleet:
    """Take a deployment in."""
    fleet = await _decide(ctx, lambda fleet: rules.deploy(fleet, command))
    if fleet.numbered == 1:
        # From now on the project tells us what becomes of its deletion; it does not for those without deployments.
        ctx.generic_send("ProjectService", "deployed", b"", key=ctx.key())
    return fleet


@deployment_service.handler()
async def cancel(ctx: ObjectContext, command: Act) -> Fleet:
    """Give a rollout up."""
    return await _decide(ctx, lambda fleet: rules.cancel(fleet, command))


@deployment_service.handler()
async def rollback(ctx: ObjectContext, command: Act) -> Fleet:
    """Make an earlier deployment live and keep it there."""
    return await _decide(ctx, lambda fleet: rules.rollback(fleet, command))


@deployment_service.handler()
async def promote(ctx: ObjectContext, command: Act) -> Fleet:
    """Make a ready deployment live."""
    return await _decide(ctx, lambda fleet: rules.promote(fleet, command))


@deployment_service.handler()
async def stop(ctx: ObjectContext, command: Act) -> Fleet:
    """Stop a deployment that is not live."""
    return await _decide(ctx, lambda fleet: rules.stop(fleet, command))


@deployment_service.handler()
async def wake(ctx: ObjectContext, command: Act) -> Fleet:
    """Start a stopped deployment again."""
    return await _decide(ctx, lambda fleet: rules.wake(fleet, command))


@deployment_service.handler(ingress_private=True)
async def activate(ctx: ObjectContext, message: Activate) -> None:
    """A rollout asks for its deployment to go live."""
    await _decide(ctx, lambda fleet: events.activate(fleet, message))


@deployment_service.handler(ingress_private=True)
async def switched(ctx: ObjectContext, message: Switched) -> None:
    """The gateway has confirmed a switch."""
    await _decide(ctx, lambda fleet: events.switched(fleet, message))


@deployment_service.handler(ingress_private=True)
async def settle(ctx: ObjectContext, message: Settled) -> None:
    """A rollout ended, or its watch did."""
    await _decide(ctx, lambda fleet: events.settle(fleet, message))


@deployment_service.handler(ingress_private=True)
async def woken(ctx: ObjectContext, message: Woken) -> None:
    """Instances are back, or cannot be."""
    await _decide(ctx, lambda fleet: events.woken(fleet, message))


@deployment_service.handler(ingress_private=True)
async def retire(ctx: ObjectContext, message: Retire) -> None:
    """The standby of a deployment is over."""
    await _decide(ctx, lambda fleet: events.retire(fleet, message))


@deployment_service.handler(ingress_private=True)
async def follow(ctx: ObjectContext, message: Follow) -> None:
    """The project's deletion was scheduled, moved or cancelled."""
    await _decide(ctx, lambda fleet: events.follow(fleet, message))


@deployment_service.handler(ingress_private=True)
async def seal(ctx: ObjectContext) -> Sealed:
    """The purge begins: take no deployment any more, and end rollouts."""
    now = datetime.fromtimestamp(await ctx.time(), UTC)
    fleet = await _decide(ctx, lambda fleet: events.seal(fleet, now))
    return Sealed(rolling=fleet.rolling is not None)


@deployment_service.handler(kind="shared", journal_retention=timedelta(0))
async def state(ctx: ObjectSharedContext) -> Fleet:
    """Every deployment as it stands, never blocked by anything."""
    return await ctx.get(FLEET, type_hint=Fleet) or Fleet()


async def _decide(ctx: ObjectContext, rule: Callable[[Fleet], Decision]) -> Fleet:
    before = await ctx.get(FLEET, type_hint=Fleet) or Fleet()
    decision = rule(before)
    after = decision.fleet.model_copy(update={"sequence": before.sequence + max(1, len(decision.transitions))})
    if decision.fleet == before and not decision.transitions:
        after = before
    else:
        ctx.set(FLEET, after)
    for effect in decision.effects:
        _carry_out(ctx, after, effect)
    for entry in entries.entries(ctx.key(), before, after, decision.transitions):
        ctx.service_send(record, arg=entry)
    return after


def _carry_out(ctx: ObjectContext, fleet: Fleet, effect: Effect) -> None:  # noqa: C901  one line per kind
    project = ctx.key()
    match effect:
        case Roll(spec):
            ctx.workflow_send(rollout.run, spec.id, spec)
        case Halt(deployment):
            ctx.workflow_send(rollout.halt, deployment, None)
        case Tell(deployment, activation):
            ctx.workflow_send(rollout.activated, deployment, activation)
        case Turn(switch):
            ctx.object_send(routing.switch_domains, project, switch)
        case Stand(deployment):
            member = fleet.member(deployment)
            order = standby.ScheduleStop(
                project=project, workspace=fleet.workspace, label=standby.label(member) if member else deployment
            )
            ctx.object_send(standby.schedule_stop, deployment, order)
        case Keep(deployment):
            ctx.object_send(standby.keep, deployment, standby.KeepRunning())
        case Rest(deployment):
            ctx.object_send(instances.stop, deployment, Target(project=project, deployment=deployment))
        case Rouse(deployment, number):
            target = Target(project=project, deployment=deployment, number=number)
            ctx.object_send(instances.wake, deployment, target)
        case Suspend(due_at):
            ctx.object_send(routing.suspend, project, routing.Suspension(until=due_at))
        case Resume():
            ctx.object_send(routing.resume, project, None)
        case _:
            assert_never(effect)
