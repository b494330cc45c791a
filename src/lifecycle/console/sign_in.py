"""Signing in with an API key, and out."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from lifecycle.api.context import ContextOf
from lifecycle.console import sessions
from lifecycle.console.pages import PageRoute, page, to
from lifecycle.console.sessions import SentOf
from lifecycle.errors import Code, LifecycleError

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Next = Annotated[str, Query(max_length=2000)]


@router.get("/sign-in")
async def show(next: Next = "/", over: str = "") -> Response:  # noqa: A002  it is called so in the address
    """The page that asks for a key; `?over=1` after a form that came without a session."""
    return page("sign_in.html", None, next=sessions.inside(next), problem="", is_over=over == "1")


@router.post("/sign-in")
async def sign_in(request: Request, context: ContextOf) -> Response:
    """Begins a session, and goes on where the visitor wanted to."""
    fields = await sessions.read(request)
    wanted = sessions.inside(fields.get("next", "/"))
    answer = to(wanted)
    try:
        await sessions.begin(context, answer, fields.get("key", "").strip())
    except LifecycleError as error:
        if error.code is not Code.KEY_INVALID:
            raise
        said = f"{error.message} {error.hint}"
        status = HTTPStatus.UNAUTHORIZED
        return page("sign_in.html", None, status=status, next=wanted, problem=said, is_over=False)
    return answer


@router.post("/sign-out")
async def sign_out(_: SentOf, request: Request, context: ContextOf) -> Response:
    """Ends the session."""
    answer = to("/sign-in")
    await sessions.leave(request, context)
    sessions.end(context.settings, answer)
    return answer
