"""What happens, for the pages that follow it."""

from functools import partial

from fastapi import APIRouter, Request, Response

from lifecycle.api import events
from lifecycle.api.context import ContextOf
from lifecycle.console import sessions
from lifecycle.console.sessions import VisitorOf

router = APIRouter(include_in_schema=False)


@router.get("/events")
async def follow(request: Request, context: ContextOf, visitor: VisitorOf) -> Response:
    """The same events as of the API, for a browser that has a session instead of a key; they end with the session."""
    return events.stream(context, visitor.actor, partial(sessions.visitor, request, context))
