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
from lifecycle.deploy import routing_store
from lifecycle.deploy.domains import Kind

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_MOST_FOLLOWING = 200
_NEWEST = 20
_MOST_OF_ONE = 100
_PER_PAGE = 200


class Hosts(NamedTuple):
    """Host names.

    Attributes:
        items: those that are shown, first those that people know.
        total: how many there are in all; those that are shown are all when it is 0.
    """

    items: tuple[DomainAnswer, ...]
    total: int


@router.get("/projects/{project}/hosts")
async def show_all(
    project: ProjectRef, context: ContextOf, visitor: VisitorOf, cursor: paging.Cursor = None
) -> Response:
    """All of them, in the order of the alphabet."""
    shown = await projects.show(project, context, visitor.actor)
    [after] = paging.decode(cursor, parts=1) if cursor else [""]
    found = await routing_store.page(context.db, shown.id, after=after, limit=_PER_PAGE)
    return page(
        "hosts.html",
        visitor,
        project=shown,
        hosts=[domains.given(one) for one in found],
        total=await routing_store.count(context.db, shown.id),
        next_cursor=paging.encode(found[-1].hostname) if len(found) == _PER_PAGE else None,
    )


async def of_project(context: Context, project: str) -> Hosts:
    """What people know, and the newest of the others."""
    following = await routing_store.following(context.db, project, limit=_MOST_FOLLOWING)
    newest = await routing_store.newest(context.db, project, limit=_NEWEST)
    total = await routing_store.count(context.db, project)
    items = await domains.answers(context, project, [*following, *newest])
    return Hosts(known_first(items), total if total > len(following) + len(newest) else 0)


async def of_deployment(context: Context, project: str, deployment: str) -> tuple[DomainAnswer, ...]:
    """What shows a deployment, and what shows whatever is live: all that can change when something is done with it."""
    following = await routing_store.following(context.db, project, limit=_MOST_FOLLOWING)
    own = await routing_store.showing(context.db, project, deployment, limit=_MOST_OF_ONE)
    routes = {one.hostname: one for one in (*following, *own)}
    return known_first(await domains.answers(context, project, list(routes.values())))


def known_first(hosts: Sequence[DomainAnswer]) -> tuple[DomainAnswer, ...]:
    """Host names, first those that people know: domains of their own, then what is live, and so on."""
    kinds = list(reversed(Kind))
    return tuple(sorted(hosts, key=lambda one: (kinds.index(one.kind), one.domain)))
