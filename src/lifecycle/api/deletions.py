"""/v1/projects/{project}/deletion and holds: schedule, show, cancel, move, expedite."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from lifecycle import clock
from lifecycle.api.context import ActorOf, ContextOf, IdempotencyKey, IfMatch, etag, idempotency
from lifecycle.api.operations import cancel_deletion, move_deletion, run_deletion
from lifecycle.api.problems import invalid
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes.deletions import (
    CancelAnswer,
    DeletionAnswer,
    DeletionMove,
    DryRunAnswer,
    NewDeletion,
    NewHold,
    deletion_answer,
)
from lifecycle.errors import Code, LifecycleError
from lifecycle.ids import HoldName
from lifecycle.scheduler import store
from lifecycle.scheduler.model import Phase, PlaceHold, Read, ReleaseHold, ScheduleDeletion

router = APIRouter(prefix="/v1/projects/{project}", tags=["deletion"])

HoldRef = Annotated[HoldName, Path(description="Name of a hold, such as `legal`.", examples=["legal"])]


@router.post("/deletion", status_code=202, summary="Schedule the deletion", responses={200: {"model": DryRunAnswer}})
async def schedule(
    project: ProjectRef,
    body: NewDeletion,
    context: ContextOf,
    actor: ActorOf,
    response: Response,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> DeletionAnswer | DryRunAnswer:
    """Deletes the project when the grace is over, unless somebody cancels. Needs the role administrator.

    `confirm` repeats the slug. While a deletion is scheduled, it is returned unchanged with 200 and
    `already_scheduled`; PATCH changes it. `dry_run` answers 200 with what would be removed, and schedules nothing.
    """
    project_id = await context.project_id(actor, project)
    if body.grace is not None and body.due_at is not None:
        raise LifecycleError(Code.GRACE_AND_DUE_AT, field="due_at")
    impact = await store.impact(context.db, project_id)
    if body.dry_run:
        row = await store.find_project(context.db, workspace=actor.workspace, reference=project_id)
        if row is None:
            raise LifecycleError(Code.PROJECT_NOT_FOUND)
        response.status_code = 200
        return DryRunAnswer(project=project_id, slug=row.slug, impact=impact)
    if body.reason is None:
        raise invalid("reason", "say why, it goes into the audit log and the receipt")
    command = ScheduleDeletion(
        actor=actor,
        now=clock.now(),
        generation=if_match,
        confirm=body.confirm or "",
        reason=body.reason,
        grace_seconds=None if body.grace is None else body.grace.total_seconds(),
        due_at=body.due_at,
        traffic=body.traffic,
        compute=body.compute,
        impact=impact,
    )
    scheduled = await context.client.schedule_deletion(
        project_id,
        command,
        idempotency_key=idempotency(
            actor, idempotency_key, "schedule", project_id, str(if_match), body.model_dump_json()
        ),
    )
    response.headers["ETag"] = etag(scheduled.deletion.generation)
    if scheduled.already_scheduled:
        response.status_code = 200
    return deletion_answer(project_id, scheduled.deletion, already=scheduled.already_scheduled)


@router.get("/deletion", summary="Show the deletion")
async def show(project: ProjectRef, context: ContextOf, actor: ActorOf, response: Response) -> DeletionAnswer:
    """Shows the deletion as the project itself knows it, also while it runs and after it is done."""
    project_id = await context.project_id(actor, project)
    read = Read(workspace=actor.workspace)
    deletion = await context.client.deletion(project_id, read)
    progress = None
    if deletion.phase is Phase.PURGING:
        progress = await context.client.purge_progress(project_id, deletion, read)
    response.headers["ETag"] = etag(deletion.generation)
    return deletion_answer(project_id, deletion, progress=progress)


@router.delete("/deletion", summary="Cancel the deletion")
async def cancel(project: ProjectRef, context: ContextOf, actor: ActorOf, if_match: IfMatch = None) -> CancelAnswer:
    """Cancels the deletion; the answer is final. Needs the role operator, and the engine but no database.

    Cancelling twice returns the first outcome. Once the deletion has begun it is too late: 409
    `deletion_started` says since when.
    """
    return await cancel_deletion(context, actor, project, if_match)


@router.patch("/deletion", summary="Move the deletion")
async def move(
    project: ProjectRef,
    body: DeletionMove,
    context: ContextOf,
    actor: ActorOf,
    response: Response,
    if_match: IfMatch = None,
) -> DeletionAnswer:
    """Gives the deletion another due time. Needs the role administrator, who answers for it from then on."""
    answer = await move_deletion(context, actor, project, body, if_match)
    response.headers["ETag"] = etag(answer.generation)
    return answer


@router.post("/deletion/expedite", summary="Delete now")
async def expedite(
    project: ProjectRef,
    context: ContextOf,
    actor: ActorOf,
    response: Response,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> DeletionAnswer:
    """Brings the deletion forward to the shortest allowed notice. Needs a second administrator."""
    answer = await run_deletion(context, actor, project, if_match, idempotency_key)
    response.headers["ETag"] = etag(answer.generation)
    return answer


@router.put("/holds/{name}", summary="Place a hold")
async def place_hold(
    project: ProjectRef, name: HoldRef, body: NewHold, context: ContextOf, actor: ActorOf
) -> DeletionAnswer:
    """Keeps any deletion of the project from firing until the hold is released. Needs the role operator."""
    project_id = await context.project_id(actor, project)
    command = PlaceHold(actor=actor, now=clock.now(), name=name, reason=body.reason)
    return deletion_answer(project_id, await context.client.place_hold(project_id, command))


@router.delete("/holds/{name}", summary="Release a hold")
async def release_hold(project: ProjectRef, name: HoldRef, context: ContextOf, actor: ActorOf) -> DeletionAnswer:
    """Releases a hold. When it was the last one of an overdue deletion, a new due time gives fresh notice.

    Needs the role administrator.
    """
    project_id = await context.project_id(actor, project)
    command = ReleaseHold(actor=actor, now=clock.now(), name=name)
    return deletion_answer(project_id, await context.client.release_hold(project_id, command))
