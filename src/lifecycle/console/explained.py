"""What an error code means, for people; programs get the same as JSON at the same address."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.requests import HTTPConnection
from starlette.routing import Match
from starlette.types import Scope

from lifecycle.api import problems
from lifecycle.console import sessions
from lifecycle.console.pages import PageRoute, page
from lifecycle.errors import CATALOG, Code, LifecycleError, explanation


class ForPeople(PageRoute):
    """A page whose address is also one of the API, so it is there only for whoever wants a page."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for this route."""
        if scope["type"] == "http" and not problems.is_for_people(HTTPConnection(scope)):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(route_class=ForPeople, include_in_schema=False)


@router.get("/errors/{code}")
async def explain(code: Annotated[str, Path(max_length=60)], request: Request) -> Response:
    """What it means and what to do."""
    try:
        known = Code(code)
    except ValueError as error:
        raise LifecycleError(Code.NOT_FOUND, path=f"/errors/{code}") from error
    message, hint = explanation(known)
    visitor = await sessions.somebody(request)
    return page(
        "explained.html",
        visitor,
        code=known.value,
        http_status=CATALOG[known].status,
        message=message,
        hint=hint,
        back=sessions.came_from(request),
    )
