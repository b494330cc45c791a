"""/v1/events: what happens, as it happens (server-sent events)."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from lifecycle import clock
from lifecycle.api.context import ActorOf, Context, ContextOf
from lifecycle.models import Actor

router = APIRouter(prefix="/v1", tags=["records"])

# Proxies end what is silent for a minute (nginx, HAProxy).
_SILENT_AT_MOST = timedelta(seconds=20)
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_EXAMPLE = 'event: change\nid: 4711\ndata: {"action": "deletion.cancelled", "project": "prj_…", "at": "…"}\n\n'
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}}}
}


class EventStream(StreamingResponse):
    """Server-sent events (HTML, section 9.2)."""

    media_type = "text/event-stream"


@router.get("/events", summary="Follow what happens", response_class=EventStream, responses=_STREAM)
async def events(context: ContextOf, actor: ActorOf) -> EventStream:
    """Tells of each new line of the audit log of the workspace, about a second after it is written.

    `change` says which action of which project; read the resource for the rest. What happened while nobody listened is
    in the audit log. `clock` comes first, and every 20 seconds: the time of the server.
    """
    return stream(context, actor)


def stream(context: Context, actor: Actor) -> EventStream:
    """The events of the actor's workspace, until the listener goes away."""
    return EventStream(_told(context, actor.workspace), headers=_HEADERS)


async def _told(context: Context, workspace: str) -> AsyncIterator[str]:
    async with context.changes.watched(workspace) as queue:
        yield _clock()
        while True:
            try:
                change = await asyncio.wait_for(queue.get(), _SILENT_AT_MOST.total_seconds())
            except TimeoutError:
                yield _clock()
                continue
            data = {"action": change.action, "project": change.project, "at": clock.rfc3339(change.at)}
            yield f"event: change\nid: {change.position}\ndata: {json.dumps(data)}\n\n"


def _clock() -> str:
    return f"event: clock\ndata: {clock.rfc3339(clock.now())}\n\n"
