"""The host names of a project: those that people know, the newest of the others, and all of them page by page.

Each deployment brings names along that stay, so there are ever more.
"""

from collections.abc import Sequence
from typing import NamedTuple

from fastapi import APIRouter, Response

from lifecycle.api import domains, paging, projects
from lifecycle.api.context import Context, ContextOf
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes.domains import DomainAnswer
from lifecycle.console.pages import PageRoute, page
from lifecycle.console.sessions import VisitorOf
from lifecycle.deploy import hosts_store, routing_store
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.routing_store import Route
from lifecycle.deploy.verification import store as verification_store
from lifecycle.deploy.verification.model import Status

router = APIRouter(route_class=PageRoute, include_in_schema=False)

# Few are made here; of those that people bring along there may be any number.
_MOST_FOLLOWING = 100
_MOST_BROUGHT = 100
_NEWEST = 20
_MOST_OF_ONE = 100
_PER_PAGE = 200


class Hosts(NamedTuple):
    """Host names.

    Attributes:
        items: those that are shown, first those that people know.
        total: how many there are in all; those that are shown are all when it is 0.
        more_brought: how many domains that people brought along are not shown.
    """

    items: tuple[DomainAnswer, ...]
    total: int
    more_brought: int = 0


@router.get("/projects/{project}/hosts")
async def show_all(
    project: ProjectRef, context: ContextOf, visitor: VisitorOf, cursor: paging.Cursor = None
) -> Response:
    """All of them, in the order of the alphabet."""
    shown = await projects.show(project, context, visitor.actor)
    [after] = paging.decode(cursor, parts=1) if cursor else [""]
    found = await hosts_store.page(context.db, shown.id, after=after, limit=_PER_PAGE)
    return page(
        "hosts.html",
        visitor,
        project=shown,
        hosts=await _claimed(context, shown.id, found),
        total=await routing_store.count(context.db, shown.id),
        next_cursor=paging.encode(found[-1].hostname) if len(found) == _PER_PAGE else None,
    )


async def of_project(context: Context, project: str) -> Hosts:
    """What people know, and the newest of the others."""
    following = await hosts_store.following(context.db, project, limit=_MOST_FOLLOWING)
    newest = await hosts_store.newest(context.db, project, limit=_NEWEST)
    brought = await domains.brought(context, project, limit=_MOST_BROUGHT)
    total = await routing_store.count(context.db, project)
    shown = len(following) + len(newest) + sum(one.status.owns for one in brought)
    items = known_first([*map(domains.given, (*following, *newest)), *brought])
    return Hosts(items, total if total > shown else 0, await _more(context, project, len(brought)))


async def of_deployment(context: Context, project: str, deployment: str) -> tuple[DomainAnswer, ...]:
    """What shows a deployment, and what shows whatever is live: all that can change when something is done with it.

    No more than people read; the stores count them all.
    """
    following = await hosts_store.following(context.db, project, limit=_MOST_FOLLOWING)
    own = await hosts_store.showing(context.db, project, deployment, limit=_MOST_OF_ONE)
    brought = await domains.brought(context, project, limit=_MOST_BROUGHT)
    found = {one.domain: one for one in (*map(domains.given, following), *await _claimed(context, project, own))}
    return known_first(list({**found, **{one.domain: one for one in brought}}.values()))


async def _claimed(context: Context, project: str, routes: Sequence[Route]) -> list[DomainAnswer]:
    """Host names that are routed, those that were brought along with the status of the claim."""
    names = [one.hostname for one in routes if one.kind is Kind.CUSTOM]
    statuses = await verification_store.statuses(context.db, project, names) if names else {}
    return [domains.given(one, statuses.get(one.hostname, Status.VERIFIED)) for one in routes]


async def _more(context: Context, project: str, shown: int) -> int:
    """How many domains that were brought along are not among the first."""
    return 0 if shown < _MOST_BROUGHT else max(await verification_store.count(context.db, project) - shown, 0)


def known_first(hosts: Sequence[DomainAnswer]) -> tuple[DomainAnswer, ...]:
    """Host names, first those that people know: domains of their own, then what is live, and so on."""
    kinds = list(reversed(Kind))
    return tuple(sorted(hosts, key=lambda one: (kinds.index(one.kind), one.domain)))
