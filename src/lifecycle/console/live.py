"""What happens, for the pages that follow it."""

from fastapi import APIRouter, Response

from lifecycle.api import events
from lifecycle.api.context import ContextOf
from lifecycle.console.sessions import VisitorOf

router = APIRouter(include_in_schema=False)


@router.get("/events")
async def follow(context: ContextOf, visitor: VisitorOf) -> Response:
    """The same events as of the API, for a browser that has a session instead of a key."""
    return events.stream(context, visitor.actor)
