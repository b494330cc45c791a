"""ProjectService: a project, and the countdown to its deletion.

    create ── schedule_deletion ──delayed──> remind ──> expire ──> ProjectDeletion ──> settle
                    └── cancel, reschedule, expedite, holds (each leaves the old wake-up stale)

Object key: project id. State: `project` and `deletion`, one frozen model each. The handlers decide and send;
the rules are in `deletion_rules`. A wake-up is the only one that looks outside, once and not for long.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from lifecycle import clock, policies, resources
from lifecycle.access import store as access_store
from lifecycle.db import DatabaseDownError
from lifecycle.deploy import deployments
from lifecycle.deploy.model import Follow
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.service import record
from lifecycle.models import Durable
from lifecycle.observability import measures
from lifecycle.scheduler import deletion_rules as rules
from lifecycle.scheduler import entries, purge, store
from lifecycle.scheduler.deletion_rules import Authority, Decision
from lifecycle.scheduler.model import (
    CancelDeletion,
    Cancelled,
    Compute,
    ConfigureProject,
    CreateProject,
    Deletion,
    ExpediteDeletion,
    Limits,
    Phase,
    PlaceHold,
    Project,
    Read,
    ReleaseHold,
    RescheduleDeletion,
    Scheduled,
    ScheduleDeletion,
    Settle,
    Traffic,
    Wake,
)

PROJECT = "project"
DELETION = "deletion"
# Longest time that a wake-up may keep the project's key for asking the database.
_LOOK_DEADLINE = timedelta(seconds=2)

project_service = VirtualObject(
    "ProjectService",
    description="A project, and the countdown to its deletion.",
    invocation_retry_policy=policies.DECISION.invocations(),
)


class Look(Durable):
    """What a wake-up sees outside: the clock, whether those who asked may still delete, how soon to begin with it."""

    now: datetime
    authority: Authority
    work_in: timedelta = timedelta(0)


@project_service.handler()
async def create(ctx: ObjectContext, command: CreateProject) -> Project:
    """Make the project, unless its slug is in use. Creating the same one again returns it."""
    existing = await ctx.get(PROJECT, type_hint=Project)
    if existing is not None:
        if existing.workspace != command.actor.workspace:
            raise LifecycleError(Code.PROJECT_NOT_FOUND)
        return existing
    project = Project(
        id=ctx.key(),
        workspace=command.actor.workspace,
        slug=command.slug,
        name=command.name,
        created_at=command.now,
    )
    claim = await ctx.run_typed("claim-slug", _claim, policies.DATABASE.options(store.Claim), project=project)
    if claim is store.Claim.TAKEN:
        raise LifecycleError(Code.SLUG_TAKEN, slug=command.slug, field="slug")
    ctx.set(PROJECT, project)
    ctx.set(DELETION, Deletion(sequence=1))
    ctx.service_send(record, arg=entries.created_entry(project, command))
    return project


@project_service.handler()
async def configure(ctx: ObjectContext, command: ConfigureProject) -> Project:
    """Change the project's settings."""
    project, deletion = await _load(ctx, command.actor.workspace)
    changed = rules.configure(project, deletion, command)
    ctx.set(PROJECT, changed)
    numbered = deletion.model_copy(update={"sequence": deletion.sequence + 1})
    ctx.set(DELETION, numbered)
    ctx.service_send(record, arg=entries.project_entry(changed, numbered, command))
    return changed


@project_service.handler()
async def schedule_deletion(ctx: ObjectContext, command: ScheduleDeletion) -> Scheduled:
    """Start the countdown; a running one is returned as it is."""
    project, deletion = await _load(ctx, command.actor.workspace)
    decision = rules.schedule(project, deletion, command, _limits())
    _carry_out(ctx, project, deletion, decision)
    return Scheduled(deletion=decision.deletion, already_scheduled=decision.transition is None)


@project_service.handler()
async def cancel_deletion(ctx: ObjectContext, command: CancelDeletion) -> Cancelled:
    """End the countdown. The answer is decided here, in the project's own state, and is final."""
    project, deletion = await _load(ctx, command.actor.workspace)
    decision = rules.cancel(project, deletion, command)
    _carry_out(ctx, project, deletion, decision)
    cancellation = decision.deletion.cancellation
    if cancellation is None:
        raise LifecycleError(Code.DELETION_NOT_SCHEDULED, project=project.id)
    return Cancelled(generation=cancellation.generation, cancelled_at=cancellation.cancelled_at)


@project_service.handler()
async def reschedule_deletion(ctx: ObjectContext, command: RescheduleDeletion) -> Deletion:
    """Move the due time."""
    project, deletion = await _load(ctx, command.actor.workspace)
    decision = rules.reschedule(project, deletion, command, _limits())
    return _carry_out(ctx, project, deletion, decision)


@project_service.handler()
async def expedite_deletion(ctx: ObjectContext, command: ExpediteDeletion) -> Deletion:
    """Delete as soon as the floor allows; a second administrator must say so."""
    project, deletion = await _load(ctx, command.actor.workspace)
    decision = rules.expedite(project, deletion, command, _limits())
    return _carry_out(ctx, project, deletion, decision)


@project_service.handler()
async def place_hold(ctx: ObjectContext, command: PlaceHold) -> Deletion:
    """Stop the deletion from firing."""
    project, deletion = await _load(ctx, command.actor.workspace)
    decision = rules.place_hold(project, deletion, command)
    return _carry_out(ctx, project, deletion, decision)


@project_service.handler()
async def release_hold(ctx: ObjectContext, command: ReleaseHold) -> Deletion:
    """Take a hold away."""
    project, deletion = await _load(ctx, command.actor.workspace)
    decision = rules.release_hold(project, deletion, command, _limits())
    return _carry_out(ctx, project, deletion, decision)


@project_service.handler(ingress_private=True)
async def expire(ctx: ObjectContext, wake: Wake) -> None:
    """The countdown may have ended: check everything again, then begin the purge or say why not."""
    await _woken(ctx, wake)


@project_service.handler(ingress_private=True)
async def remind(ctx: ObjectContext, wake: Wake) -> None:
    """The countdown may be near its end: remind people, and wait on."""
    await _woken(ctx, wake)


@project_service.handler(ingress_private=True)
async def resume_purge(ctx: ObjectContext, wake: Wake) -> None:
    """The reconciler found no trace of a purge that should run: begin it again."""
    project = await ctx.get(PROJECT, type_hint=Project)
    deletion = await ctx.get(DELETION, type_hint=Deletion)
    if project is None or deletion is None:
        return
    now = datetime.fromtimestamp(await ctx.time(), UTC)
    _carry_out(ctx, project, deletion, rules.resume_purge(deletion, wake.generation, now=now))


@project_service.handler(ingress_private=True)
async def deployed(ctx: ObjectContext) -> None:
    """The first deployment was taken in: from now on deployments follow what becomes of the deletion."""
    project = await ctx.get(PROJECT, type_hint=Project)
    deletion = await ctx.get(DELETION, type_hint=Deletion) or Deletion()
    if project is None or project.deployed:
        return
    ctx.set(PROJECT, project.model_copy(update={"deployed": True}))
    now = datetime.fromtimestamp(await ctx.time(), UTC)
    if (message := follow_message(Deletion(), deletion, now)) is not None:
        ctx.object_send(deployments.follow, ctx.key(), message)


@project_service.handler(ingress_private=True)
async def settle(ctx: ObjectContext, message: Settle) -> None:
    """The purge is finished."""
    project = await ctx.get(PROJECT, type_hint=Project)
    deletion = await ctx.get(DELETION, type_hint=Deletion)
    if project is None or deletion is None:
        return
    if _carry_out(ctx, project, deletion, rules.settle(deletion, message)) is not deletion:
        measures.purged(deletion.started_at, message.deleted_at)


@project_service.handler(kind="shared", journal_retention=timedelta(0))
async def deletion(ctx: ObjectSharedContext, read: Read) -> Deletion:
    """The deletion as it stands, never blocked by anything."""
    project = await ctx.get(PROJECT, type_hint=Project)
    if project is None or project.workspace != read.workspace:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    return await ctx.get(DELETION, type_hint=Deletion) or Deletion()


async def _woken(ctx: ObjectContext, wake: Wake) -> None:
    project = await ctx.get(PROJECT, type_hint=Project)
    deletion = await ctx.get(DELETION, type_hint=Deletion)
    if project is None or deletion is None:
        return
    if rules.is_stale(deletion, wake.generation):
        ignored = _carry_out(ctx, project, deletion, rules.ignore(deletion))
        measures.woken(entries.KIND, deletion.countdown, ignored.countdown)
        return
    look = await ctx.run_typed("look", _look, policies.LOOK.options(Look), deletion=deletion)
    decision = rules.wake(deletion, wake.generation, now=look.now, authority=look.authority)
    after = _carry_out(ctx, project, deletion, decision, work_in=look.work_in)
    measures.woken(entries.KIND, deletion.countdown, after.countdown, begun_at=look.now if decision.purge else None)


async def _load(ctx: ObjectContext, workspace: str) -> tuple[Project, Deletion]:
    project = await ctx.get(PROJECT, type_hint=Project)
    if project is None or project.workspace != workspace:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    return project, await ctx.get(DELETION, type_hint=Deletion) or Deletion()


def _carry_out(
    ctx: ObjectContext,
    project: Project,
    before: Deletion,
    decision: Decision,
    *,
    work_in: timedelta = timedelta(0),
) -> Deletion:
    after = decision.deletion
    if after is not before:
        ctx.set(DELETION, after)
    if decision.wake_at is not None:
        handler = expire if rules.wants_authority(after) else remind
        delay = clock.until(decision.wake_at)
        ctx.object_send(handler, ctx.key(), Wake(generation=after.generation), send_delay=delay)
    if decision.purge:
        order = purge.order(project, after)
        ctx.workflow_send(purge.run, purge.key(project.id, after), order, send_delay=work_in)
    if project.deployed and decision.transition is not None:
        message = follow_message(before, after, decision.transition.at)
        if message is not None:
            ctx.object_send(deployments.follow, ctx.key(), message)
    if decision.transition is not None:
        ctx.service_send(record, arg=entries.deletion_entry(project, before, after, decision.transition))
    return after


def follow_message(before: Deletion, after: Deletion, now: datetime) -> Follow | None:
    """What the deployments of a project must know of a change of its deletion; None when nothing."""
    due_at = after.countdown.due_at if after.phase is Phase.SCHEDULED else None
    former = before.countdown.due_at if before.phase is Phase.SCHEDULED else None
    if due_at == former or after.phase not in (Phase.NONE, Phase.SCHEDULED):
        return None
    return Follow(
        generation=after.generation,
        now=now,
        due_at=due_at,
        suspend=after.traffic is Traffic.SUSPEND,
        rest=after.compute is Compute.STOP,
    )


async def _claim(project: Project) -> store.Claim:
    return await store.claim(resources.current().db, project)


async def _look(deletion: Deletion) -> Look:
    now = clock.now()
    if not rules.wants_authority(deletion):
        return Look(now=now, authority=Authority.UNKNOWN)
    work_in = resources.current().precedence.deciding()
    people = [actor for actor in (deletion.requested_by, deletion.expedited_by) if actor is not None]
    try:
        async with asyncio.timeout(_LOOK_DEADLINE.total_seconds()):
            allowed = [
                await access_store.is_administrator(
                    resources.current().decisions, workspace_id=actor.workspace, person=actor.person
                )
                for actor in people
            ]
    except (DatabaseDownError, TimeoutError):
        return Look(now=now, authority=Authority.UNKNOWN)
    return Look(now=now, authority=Authority.GRANTED if all(allowed) else Authority.LOST, work_in=work_in)


def _limits() -> Limits:
    settings = resources.current().settings
    return Limits(
        grace_seconds=settings.deletion_grace.total_seconds(),
        min_grace_seconds=settings.deletion_min_grace.total_seconds(),
        max_grace_seconds=settings.deletion_max_grace.total_seconds(),
        release_notice_seconds=settings.deletion_release_notice.total_seconds(),
        expedite_floor_seconds=settings.deletion_expedite_floor.total_seconds(),
    )
