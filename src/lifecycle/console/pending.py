"""Pending: everything that is due, by how soon, and what can be done about it."""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Response

from lifecycle import clock
from lifecycle.api import actions
from lifecycle.api.actions import ActionQuery
from lifecycle.api.context import Context, ContextOf, if_match
from lifecycle.api.shapes.actions import ActionAnswer
from lifecycle.api.shapes.deletions import DeletionMove
from lifecycle.console import words
from lifecycle.console.pages import PageRoute, asked, page, to
from lifecycle.console.sessions import SentOf, VisitorOf
from lifecycle.ledger import store
from lifecycle.models import Actor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_SHOWN = 40
_SHOWN_OF_ONE = 150
_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


class Period(NamedTuple):
    """A part of the timeline: what is due in it, the soonest, and how much there is in all."""

    name: str
    title: str
    due_after: datetime | None
    due_before: datetime | None
    total: int = 0
    items: tuple[ActionAnswer, ...] = ()
    next_cursor: str | None = None


class PendingQuery(ActionQuery):
    """The filters of the page, as its address has them; `done` is the verb that led here."""

    period: str | None = None
    done: str | None = None


@router.get("/")
async def show(context: ContextOf, visitor: VisitorOf, query: Annotated[PendingQuery, Query()]) -> Response:
    """The timeline; `?period=week` shows one part of it page by page."""
    wanted = store.ActionFilter(
        workspace=visitor.actor.workspace,
        kind=query.kind or None,
        project=await context.project_id(visitor.actor, query.project) if query.project else None,
    )
    now = clock.now()
    edges = (now, now + _HOUR, now + _DAY, now + _WEEK)
    counts = await store.count_due(context.db, wanted, edges)
    counted = [one._replace(total=count) for one, count in zip(_periods(edges), counts, strict=True)]
    chosen = [one for one in counted if query.period in (None, "", one.name)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_filled(context, visitor.actor, query, one)) for one in chosen]
    return page(
        "pending.html",
        visitor,
        query=query,
        counts=counted,
        periods=[task.result() for task in tasks],
        kinds=words.KINDS,
    )


@router.get("/actions/{kind}/{key}/{verb}")
async def confirm(kind: str, key: str, verb: str, context: ContextOf, visitor: VisitorOf) -> Response:
    """Says what cancelling, moving or running an action will do, and asks."""
    action = await actions.show(kind, key, context, visitor.actor, Response())
    return page("confirm.html", visitor, action=action, verb=verb)


@router.post("/actions/{kind}/{key}/{verb}")
async def act(kind: str, key: str, verb: str, context: ContextOf, sent: SentOf) -> Response:
    """Does it, to exactly the generation that was shown."""
    actor, generation = sent.visitor.actor, if_match(sent.get("generation") or None)
    match verb:
        case "cancel":
            await actions.cancel(kind, key, context, actor, generation)
        case "move":
            body = asked(lambda: DeletionMove.model_validate({sent.get("by"): sent.get("value")}))
            await actions.move(kind, key, body, context, actor, generation)
        case _:
            await actions.run(kind, key, context, actor, generation)
    return to("/", done=verb)


async def _filled(context: Context, actor: Actor, query: PendingQuery, period: Period) -> Period:
    if not period.total:
        return period
    limit = _SHOWN_OF_ONE if query.period else _SHOWN
    wanted = ActionQuery(
        kind=query.kind or None,
        project=query.project or None,
        due_after=period.due_after,
        due_before=period.due_before,
        cursor=query.cursor if query.period else None,
        limit=limit,
    )
    found = await actions.list_all(context, actor, wanted)
    return period._replace(items=found.items, next_cursor=found.next_cursor)


def _periods(edges: tuple[datetime, ...]) -> list[Period]:
    return [
        Period("overdue", "Overdue or under way", None, edges[0]),
        Period("hour", "Within an hour", edges[0], edges[1]),
        Period("day", "Within a day", edges[1], edges[2]),
        Period("week", "Within a week", edges[2], edges[3]),
        Period("later", "Later", edges[3], None),
    ]
