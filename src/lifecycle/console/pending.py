"""Pending: everything that is due, by how soon, and what can be done about it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Response

from lifecycle import clock
from lifecycle.api import actions
from lifecycle.api.actions import ActionQuery
from lifecycle.api.context import Context, ContextOf, if_match
from lifecycle.api.shapes.actions import ActionAnswer
from lifecycle.api.shapes.deletions import DeletionMove
from lifecycle.console import notices, rights, verbs, words
from lifecycle.console.notices import DoneOf
from lifecycle.console.pages import PageRoute, asked, page, to
from lifecycle.console.rights import Verb
from lifecycle.console.sessions import SentOf, VisitorOf
from lifecycle.ledger import store
from lifecycle.ledger.entry import ActionState
from lifecycle.models import Actor
from lifecycle.scheduler import entries
from lifecycle.scheduler import store as projects_store

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_SHOWN = 40
_SHOWN_OF_ONE = 150
_LONGEST_FILTERS = 2000
_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)

TITLES: Mapping[Verb, str] = MappingProxyType({Verb.CANCEL: "Cancel", Verb.MOVE: "Move", Verb.RUN: "Run now"})
SAID: Mapping[str, str] = MappingProxyType(
    {
        Verb.CANCEL: "It is cancelled, and will not happen.",
        Verb.MOVE: "It has another due time now.",
        Verb.RUN: "It happens now.",
    }
)


class Offer(NamedTuple):
    """Something that the visitor may do with an action, and where it is asked."""

    title: str
    address: str


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
    """The filters of the page, as its address has them."""

    period: str | None = None

    @property
    def chosen(self) -> dict[str, str]:
        """Those that are set."""
        return _chosen(self.model_dump(include=set(_FILTERS)))


_FILTERS = ("kind", "project", "period", "cursor")
# The filters of the page that somebody comes from, as its address had them.
Filters = Annotated[str, Query(alias="from", max_length=_LONGEST_FILTERS)]


@router.get("/")
async def show(
    context: ContextOf, visitor: VisitorOf, query: Annotated[PendingQuery, Query()], done: DoneOf
) -> Response:
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
    periods = [task.result() for task in tasks]
    shown = [action for period in periods for action in period.items]
    return page(
        "pending.html",
        visitor,
        query=query,
        counts=counted,
        periods=periods,
        kinds=words.KINDS,
        slugs=await _slugs(context, visitor.actor, shown),
        offers={one.id: offers(one, visitor.actor, query.chosen) for one in shown},
        said=SAID.get(done, ""),
    )


@router.get("/actions/{kind}/{key}/{verb}")
async def confirm(
    kind: str, key: str, verb: str, context: ContextOf, visitor: VisitorOf, filters: Filters = ""
) -> Response:
    """Says what cancelling, moving or running an action will do, and asks."""
    wanted = verbs.known(Verb, verb, f"/actions/{kind}/{key}")
    action = await actions.show(kind, key, context, visitor.actor, Response())
    if _is_expedited(action, wanted):
        return to(_expedite(action.key))
    needs = rights.needs(action.kind, wanted)
    return page(
        "confirm.html",
        visitor,
        action=action,
        slugs=await _slugs(context, visitor.actor, [action]),
        verb=wanted.value,
        title=TITLES[wanted],
        needs=needs.value,
        may=visitor.actor.role.includes(needs),
        back=words.address("/", **_read(filters)),
    )


@router.post("/actions/{kind}/{key}/{verb}")
async def act(kind: str, key: str, verb: str, context: ContextOf, sent: SentOf, filters: Filters = "") -> Response:
    """Does it, to exactly the generation that was shown."""
    wanted = verbs.known(Verb, verb, f"/actions/{kind}/{key}")
    actor, generation = sent.visitor.actor, if_match(sent.get("generation") or None)
    match wanted:
        case Verb.CANCEL:
            await actions.cancel(kind, key, context, actor, generation)
        case Verb.MOVE:
            body = asked(lambda: DeletionMove.model_validate({sent.get("by"): sent.get("value")}))
            await actions.move(kind, key, body, context, actor, generation)
        case Verb.RUN if kind == entries.KIND:
            return to(_expedite(key))
        case Verb.RUN:
            await actions.run(kind, key, context, actor, generation)
    return notices.done("/", wanted.value, **_read(filters))


def offers(action: ActionAnswer, actor: Actor, filters: Mapping[str, str]) -> tuple[Offer, ...]:
    """What somebody may do with an action.

    Args:
        action: which.
        actor: who.
        filters: of the page to come back to.
    """
    if action.state not in (ActionState.PENDING, ActionState.BLOCKED):
        return ()
    return tuple(
        _offer(action, verb, filters)
        for verb in Verb
        if actor.role.includes(rights.needs(action.kind, verb)) and not _is_refused(action, verb, actor)
    )


def _offer(action: ActionAnswer, verb: Verb, filters: Mapping[str, str]) -> Offer:
    if _is_expedited(action, verb):
        return Offer("Delete it now…", _expedite(action.key))
    path = f"/actions/{action.kind}/{words.segment(action.key)}/{verb.value}"
    # The filters without the question mark; a page gets them back as one.
    return Offer(TITLES[verb], words.address(path, **{"from": words.address("", **filters).lstrip("?")}))


def _is_refused(action: ActionAnswer, verb: Verb, actor: Actor) -> bool:
    """Whether it would be: it takes somebody else than who asked for a deletion to hasten it, and nothing blocking."""
    is_own = action.requested_by == actor.person
    return _is_expedited(action, verb) and (is_own or action.state is ActionState.BLOCKED)


def _is_expedited(action: ActionAnswer, verb: Verb) -> bool:
    return verb is Verb.RUN and action.kind == entries.KIND


def _expedite(project: str) -> str:
    """The page that says what deleting now means, and how soon that is."""
    return f"/projects/{words.segment(project)}/deletion/expedite"


def _read(filters: str) -> dict[str, str]:
    """The filters of the page somebody came from; whatever else stands there is left out."""
    return _chosen(dict(parse_qsl(filters)))


def _chosen(given: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name in _FILTERS if (value := given.get(name))}


async def _slugs(context: Context, actor: Actor, shown: Sequence[ActionAnswer]) -> Mapping[str, str]:
    """What people call the projects of these actions."""
    ids = sorted({one.project for one in shown if one.project})
    return await projects_store.slugs(context.db, ids, workspace=actor.workspace)


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
