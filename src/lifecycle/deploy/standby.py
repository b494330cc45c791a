"""StandbyService: the countdown to the stop of a deployment that was replaced.

    schedule_stop ──delayed──> expire ──> DeploymentService.retire
          └── keep (the old wake-up is stale)

Object key: deployment id. State: `standby`. Whether the deployment may be stopped is decided by DeploymentService,
again, when the time has come.
"""

from datetime import UTC, datetime, timedelta

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from lifecycle import clock, policies, resources
from lifecycle.deploy.model import Member, Retire
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.entry import SYSTEM, ActionRow, ActionState, Entry
from lifecycle.ledger.service import record
from lifecycle.models import Actor, Durable, Role
from lifecycle.observability import measures
from lifecycle.scheduler.countdown import Countdown, Verdict

KIND = "standby-stop"
STANDBY = "standby"

standby_service = VirtualObject(
    "StandbyService",
    description="The countdown to the stop of a deployment that was replaced.",
    invocation_retry_policy=policies.DECISION.invocations(),
)


class Standby(Durable):
    """The standby of one deployment (state key `standby`).

    Attributes:
        label: what people call the deployment.
        kept_at: when the last countdown was ended, for whoever does it twice.
        kept_generation: the generation that was ended then.
    """

    project: str
    workspace: str
    label: str
    countdown: Countdown = Countdown()
    sequence: int = 0
    requested_by: str = SYSTEM
    kept_at: datetime | None = None
    kept_generation: int = 0


class ScheduleStop(Durable):
    """Begins or moves a countdown; without `due_at` it takes as long as is usual."""

    project: str
    workspace: str
    label: str = ""
    actor: Actor | None = None
    due_at: datetime | None = None
    generation: int | None = None


class KeepRunning(Durable):
    """Ends a countdown. `actor` is None when a decision makes it superfluous."""

    actor: Actor | None = None
    now: datetime | None = None
    generation: int | None = None


class Kept(Durable):
    """The outcome of keeping."""

    generation: int
    cancelled_at: datetime


class Wake(Durable):
    """A wake-up."""

    generation: int


def label(member: Member) -> str:
    """What people call a deployment."""
    return f"{member.environment.value} #{member.number}" + (f" ({member.branch})" if member.branch else "")


@standby_service.handler()
async def schedule_stop(ctx: ObjectContext, command: ScheduleStop) -> Standby:
    """Begin the countdown, or move it; a running one is left alone unless somebody moves it."""
    now = datetime.fromtimestamp(await ctx.time(), UTC)
    before = await ctx.get(STANDBY, type_hint=Standby)
    if command.actor is not None:
        before = _armed(ctx.key(), before, command.actor, command.generation)
    elif before is not None and before.countdown.due_at is not None:
        return before
    due_at = command.due_at or now + resources.current().settings.deploy_standby
    standby = before or Standby(project=command.project, workspace=command.workspace, label=command.label)
    standby = standby.model_copy(
        update={
            "countdown": standby.countdown.arm(due_at=due_at, wake_at=due_at),
            "requested_by": command.actor.person if command.actor else SYSTEM,
        }
    )
    _wake_at(ctx, standby)
    action = "standby.scheduled" if command.actor is None else "standby.rescheduled"
    return _record(ctx, standby, action, ActionState.PENDING, now, command.actor)


@standby_service.handler()
async def keep(ctx: ObjectContext, command: KeepRunning) -> Kept:
    """End the countdown; the deployment goes on running. Ending it twice gives the first outcome."""
    now = command.now or datetime.fromtimestamp(await ctx.time(), UTC)
    standby = await ctx.get(STANDBY, type_hint=Standby)
    if command.actor is None and (standby is None or standby.countdown.due_at is None):
        return Kept(generation=0, cancelled_at=now)
    if standby is not None and standby.countdown.due_at is None and standby.kept_at is not None:
        return Kept(generation=standby.kept_generation, cancelled_at=standby.kept_at)
    if command.actor is not None:
        standby = _armed(ctx.key(), standby, command.actor, command.generation)
    if standby is None:
        raise LifecycleError(Code.STANDBY_NOT_SCHEDULED, deployment=ctx.key())
    kept = standby.model_copy(
        update={
            "countdown": standby.countdown.disarm(),
            "kept_at": now,
            "kept_generation": standby.countdown.generation,
        }
    )
    due_at = standby.countdown.due_at or now
    _record(ctx, kept, "standby.kept", ActionState.CANCELLED, now, command.actor, due_at)
    return Kept(generation=standby.countdown.generation, cancelled_at=now)


@standby_service.handler(ingress_private=True)
async def expire(ctx: ObjectContext, wake: Wake) -> None:
    """The standby may be over: have it decided whether the deployment is stopped."""
    standby = await ctx.get(STANDBY, type_hint=Standby)
    if standby is None:
        return
    now = datetime.fromtimestamp(await ctx.time(), UTC)
    countdown = standby.countdown
    match countdown.judge(wake.generation, now=now):
        case Verdict.STALE:
            stale = standby.model_copy(update={"countdown": countdown.count_stale()})
            ctx.set(STANDBY, stale)
            measures.woken(KIND, countdown, stale.countdown)
        case Verdict.EARLY:
            early = standby.model_copy(update={"countdown": countdown.count_early()})
            ctx.set(STANDBY, early)
            _wake_at(ctx, early)
            measures.woken(KIND, countdown, early.countdown)
        case Verdict.DUE:
            over = standby.model_copy(update={"countdown": countdown.disarm()})
            _record(ctx, over, "standby.over", ActionState.DONE, now, None, countdown.due_at or now)
            message = Retire(deployment=ctx.key(), now=now)
            # An answer upward is a send by name: an import would make a ring of services that wait for each other.
            ctx.generic_send("DeploymentService", "retire", message.model_dump_json().encode(), key=standby.project)
            measures.woken(KIND, countdown, over.countdown, begun_at=now)


@standby_service.handler(kind="shared", journal_retention=timedelta(0))
async def state(ctx: ObjectSharedContext) -> Standby | None:
    """The standby as it is; None when there never was one."""
    return await ctx.get(STANDBY, type_hint=Standby)


def _armed(deployment: str, standby: Standby | None, actor: Actor, generation: int | None) -> Standby:
    if not actor.role.includes(Role.OPERATOR):
        raise LifecycleError(Code.ROLE_REQUIRED, required=Role.OPERATOR.value, role=actor.role.value)
    if standby is None or standby.workspace != actor.workspace:
        raise LifecycleError(Code.ACTION_NOT_FOUND, action=f"{KIND}/{deployment}")
    if standby.countdown.due_at is None:
        raise LifecycleError(Code.STANDBY_NOT_SCHEDULED, deployment=deployment)
    if generation is not None and generation != standby.countdown.generation:
        raise LifecycleError(
            Code.GENERATION_MISMATCH,
            project=standby.project,
            expected=str(generation),
            generation=str(standby.countdown.generation),
        )
    return standby


def _wake_at(ctx: ObjectContext, standby: Standby) -> None:
    moment = standby.countdown.wake_at
    if moment is not None:
        wake = Wake(generation=standby.countdown.generation)
        ctx.object_send(expire, ctx.key(), wake, send_delay=clock.until(moment))


def _record(
    ctx: ObjectContext,
    standby: Standby,
    action: str,
    state: ActionState,
    now: datetime,
    actor: Actor | None,
    due_at: datetime | None = None,
) -> Standby:
    numbered = standby.model_copy(update={"sequence": standby.sequence + 1})
    ctx.set(STANDBY, numbered)
    due_at = due_at or numbered.countdown.due_at or now
    entry = Entry(
        id=f"{ctx.key()}.s{numbered.sequence}",
        sequence=numbered.sequence,
        workspace=standby.workspace,
        project=standby.project,
        action=action,
        actor=actor,
        at=now,
        detail={"deployment": ctx.key(), "due_at": clock.rfc3339(due_at)},
        pending_action=ActionRow(
            kind=KIND,
            subject=ctx.key(),
            label=standby.label,
            state=state,
            due_at=due_at,
            generation=numbered.countdown.generation,
            reason="It was replaced and serves nothing any more.",
            requested_by=standby.requested_by,
        ),
    )
    ctx.service_send(record, arg=entry)
    return numbered
