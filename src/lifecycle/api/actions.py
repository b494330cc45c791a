"""/v1/actions: everything that is going to happen, and what can be done about it."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from lifecycle.api import paging
from lifecycle.api.context import ActorOf, Context, ContextOf, IdempotencyKey, IfMatch, etag
from lifecycle.api.operations import KINDS, Moved, Operations
from lifecycle.api.paths import UNQUOTED
from lifecycle.api.problems import invalid
from lifecycle.api.shapes.actions import ActionAnswer, ActionList, ActionSelection, BulkAnswer, BulkCancel, BulkOutcome
from lifecycle.api.shapes.base import Asked, Moment
from lifecycle.api.shapes.deletions import CancelAnswer, DeletionMove
from lifecycle.db import DatabaseDownError, refusal
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger import store
from lifecycle.ledger.entry import ActionState
from lifecycle.models import Actor

router = APIRouter(prefix="/v1", tags=["actions"])

_BULK_AT_ONCE = 32
_MOST_IN_BULK = 1000

Kind = Annotated[str, Path(description="Kind of the action.", examples=["project-deletion"])]
Key = Annotated[str, UNQUOTED, Path(description="What it acts on.", examples=["prj_01kahv3q5jc1s6v0n8w2k4m7xz"])]


class ActionQuery(Asked):
    """Which actions to list."""

    kind: str | None = Field(default=None, max_length=40)
    project: str | None = Field(default=None, max_length=63, description="Id or slug.")
    state: ActionState | Literal["all"] | None = Field(default=None, description="Open ones by default.")
    due_before: Moment | None = None
    due_after: Moment | None = None
    cursor: str | None = Field(default=None, max_length=1000, description="`next_cursor` of the former answer.")
    limit: int = Field(default=100, ge=1, le=1000, description="Most items in one answer.")


@router.get("/actions", summary="List actions")
async def list_all(context: ContextOf, actor: ActorOf, query: Annotated[ActionQuery, Query()]) -> ActionList:
    """Lists what is pending, soonest first; with `state=all` also what was cancelled or done."""
    wanted = store.ActionFilter(
        workspace=actor.workspace,
        kind=query.kind,
        project=await context.project_id(actor, query.project) if query.project else None,
        state=query.state if isinstance(query.state, ActionState) else None,
        closed_too=query.state is not None,
        due_before=query.due_before,
        due_after=query.due_after,
    )
    after = None
    if query.cursor:
        moment, action_id = paging.decode(query.cursor, parts=2)
        after = (paging.moment(moment), action_id)
    rows = await store.list_actions(context.db, wanted, after=after, limit=query.limit)
    last = rows[-1] if len(rows) == query.limit else None
    return ActionList(
        items=tuple(_answer(row) for row in rows),
        next_cursor=paging.encode(last.due_at.isoformat(), last.id) if last else None,
    )


@router.post("/actions:cancel", summary="Cancel many actions")
async def cancel_many(body: BulkCancel, context: ContextOf, actor: ActorOf) -> BulkAnswer:
    """Cancels up to 1,000 actions, by id or by filter (the soonest), and says for each what became of it.

    Needs the role operator.
    """
    if (body.ids is None) == (body.filter is None):
        raise invalid("ids", "give either 'ids' or 'filter'")
    wanted = body.ids if body.ids is not None else await _select(context, actor, body.filter)
    gate = asyncio.Semaphore(_BULK_AT_ONCE)

    async def one(action_id: str) -> BulkOutcome:
        async with gate:
            return await _cancel_one(context, actor, action_id)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(action_id)) for action_id in dict.fromkeys(wanted)]
    return BulkAnswer(items=tuple(task.result() for task in tasks))


@router.get("/actions/{kind}/{key}", summary="Show an action")
async def show(kind: Kind, key: Key, context: ContextOf, actor: ActorOf, response: Response) -> ActionAnswer:
    """Shows one action, also one that is cancelled or done."""
    subject = await _operations(kind, key).subject(context, actor, key)
    row = await store.find_action(context.db, workspace=actor.workspace, action_id=f"{kind}/{subject}")
    if row is None:
        raise _not_found(kind, key)
    response.headers["ETag"] = etag(row.generation)
    return _answer(row)


@router.delete("/actions/{kind}/{key}", summary="Cancel an action")
async def cancel(kind: Kind, key: Key, context: ContextOf, actor: ActorOf, if_match: IfMatch = None) -> CancelAnswer:
    """Cancels an action; with If-Match exactly the generation that was seen. Needs the role operator."""
    return await _operations(kind, key).cancel(context, actor, key, if_match)


@router.patch("/actions/{kind}/{key}", summary="Move an action")
async def move(
    kind: Kind, key: Key, body: DeletionMove, context: ContextOf, actor: ActorOf, if_match: IfMatch = None
) -> Moved:
    """Gives an action another due time. Needs the role administrator; for a standby or a renewal, operator."""
    return await _operations(kind, key).move(context, actor, key, body, if_match)


@router.post("/actions/{kind}/{key}/run", summary="Run an action now")
async def run(
    kind: Kind,
    key: Key,
    context: ContextOf,
    actor: ActorOf,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Moved:
    """Brings an action forward; for a project deletion that is `expedite`, by a second administrator.

    A standby ends at once, and the deployment is stopped unless it is live by now; that needs the role operator.
    A certificate is renewed at once; that needs the role operator too.
    """
    return await _operations(kind, key).run(context, actor, key, if_match, idempotency_key)


async def _select(context: Context, actor: Actor, selection: ActionSelection | None) -> list[str]:
    chosen = selection or ActionSelection()
    wanted = store.ActionFilter(
        workspace=actor.workspace,
        kind=chosen.kind,
        project=await context.project_id(actor, chosen.project) if chosen.project else None,
        due_before=chosen.due_before,
        due_after=chosen.due_after,
    )
    rows = await store.list_actions(context.db, wanted, after=None, limit=_MOST_IN_BULK)
    return [row.id for row in rows if row.state is not ActionState.RUNNING]


async def _cancel_one(context: Context, actor: Actor, action_id: str) -> BulkOutcome:
    kind, _, key = action_id.partition("/")
    try:
        cancelled = await _operations(kind, key).cancel(context, actor, key, None)
    except DatabaseDownError as error:
        return _refused(action_id, refusal(error))
    except LifecycleError as error:
        return _refused(action_id, error)
    return BulkOutcome(id=action_id, outcome="cancelled", generation=cancelled.generation)


def _refused(action_id: str, error: LifecycleError) -> BulkOutcome:
    # Without an answer of the engine nobody knows; a cancel may still be carried out.
    unknown = error.code is Code.ENGINE_UNAVAILABLE
    return BulkOutcome(
        id=action_id,
        outcome="unknown" if unknown else "refused",
        code=error.code.value,
        detail=error.message,
        hint=error.hint,
    )


def _operations(kind: str, key: str) -> Operations:
    if kind not in KINDS:
        raise _not_found(kind, key)
    return KINDS[kind]


def _not_found(kind: str, key: str) -> LifecycleError:
    return LifecycleError(Code.ACTION_NOT_FOUND, action=f"{kind}/{key}"[:320])


def _answer(row: store.Action) -> ActionAnswer:
    return ActionAnswer(
        id=row.id,
        kind=row.kind,
        key=row.subject,
        label=row.label,
        project=row.project,
        due_at=row.due_at,
        state=row.state,
        generation=row.generation,
        reason=row.reason,
        requested_by=row.requested_by,
    )
