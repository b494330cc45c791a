"""/v1/deliveries: what was sent to whom, how often it was tried, and once more."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from lifecycle import clock
from lifecycle.api import paging
from lifecycle.api.context import ActorOf, Context, ContextOf, require
from lifecycle.api.shapes.base import Asked, Moment
from lifecycle.api.shapes.notifications import (
    DeliveryAnswer,
    DeliveryDetails,
    DeliveryList,
    delivery_answer,
    delivery_details,
)
from lifecycle.errors import Code, LifecycleError, shown
from lifecycle.models import Actor, Role
from lifecycle.notifications import store
from lifecycle.notifications.model import Resend, State
from lifecycle.notifications.store import Delivery, DeliveryFilter

router = APIRouter(prefix="/v1/deliveries", tags=["notifications"])

DeliveryRef = Annotated[str, Path(max_length=40, examples=["dlv_01kahv3q5jc1s6v0n8w2k4m7xz"])]


class Wanted(Asked):
    """Which deliveries to list."""

    target: str | None = Field(default=None, max_length=254, description="Id of a webhook, or an address.")
    state: State | None = None
    type: str | None = Field(default=None, max_length=60, description="Type of the event.")
    project: str | None = Field(default=None, max_length=63, description="Id or slug; ids also of deleted ones.")
    since: Moment | None = Field(default=None, description="What was written then or later.")
    until: Moment | None = Field(default=None, description="What was written before.")
    cursor: str | None = Field(default=None, max_length=1000, description="`next_cursor` of the former answer.")
    limit: int = Field(default=100, ge=1, le=1000, description="Most items in one answer.")


@router.get("", summary="List deliveries")
async def list_all(context: ContextOf, actor: ActorOf, query: Annotated[Wanted, Query()]) -> DeliveryList:
    """Lists what was sent to whom, newest first, for `LIFECYCLE_NOTIFICATION_KEEP`. Needs the role operator."""
    require(actor, Role.OPERATOR)
    wanted = DeliveryFilter(
        workspace=actor.workspace,
        target=query.target,
        state=query.state,
        event=query.type,
        project=await context.project_id(actor, query.project) if query.project else None,
        since=query.since,
        until=query.until,
    )
    before = paging.number(paging.decode(query.cursor, parts=1)[0]) if query.cursor else None
    rows = await store.listed(context.db, wanted, before=before, limit=query.limit)
    return DeliveryList(
        items=tuple(delivery_answer(row) for row in rows),
        next_cursor=paging.encode(str(rows[-1].position)) if len(rows) == query.limit else None,
    )


@router.get("/{delivery}", summary="Show a delivery")
async def show(delivery: DeliveryRef, context: ContextOf, actor: ActorOf) -> DeliveryDetails:
    """Shows a delivery with every attempt and the message. Needs the role operator."""
    require(actor, Role.OPERATOR)
    row = await _find(context, actor, delivery)
    return delivery_details(row, await store.attempts(context.db, row.id), json.loads(row.body))


@router.post("/{delivery}/resend", status_code=202, summary="Send again")
async def resend(delivery: DeliveryRef, context: ContextOf, actor: ActorOf) -> DeliveryAnswer:
    """Delivers again under the same id, now, and with all retries. Needs the role operator."""
    require(actor, Role.OPERATOR)
    await _find(context, actor, delivery)
    return await start(context, actor, delivery)


async def start(context: Context, actor: Actor, delivery: str) -> DeliveryAnswer:
    """Have a delivery of the workspace begin, or begin again, and show it."""
    await context.client.resend(Resend(actor=actor, now=clock.now(), delivery=delivery))
    return delivery_answer(await _find(context, actor, delivery))


async def _find(context: Context, actor: Actor, delivery: str) -> Delivery:
    row = await store.find(context.db, delivery, workspace=actor.workspace)
    if row is None:
        raise LifecycleError(Code.DELIVERY_NOT_FOUND, delivery=shown(delivery))
    return row
