"""/v1/events: what happens, as it happens (server-sent events)."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from lifecycle import clock
from lifecycle.api.context import ActorOf, Context, ContextOf, CredentialsOf
from lifecycle.api.context import actor as who
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.store import Change
from lifecycle.models import Actor

router = APIRouter(prefix="/v1", tags=["records"])

# Proxies end what is silent for a minute (nginx, HAProxy).
_BETWEEN_CLOCKS = timedelta(seconds=20)
# Pages let go while nobody sees them, so a person has a handful; the rest is for programs.
STREAMS_OF_A_KEY = 50
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# As of one event: OpenAPI has words for a stream of them from 3.2 on only.
_EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "event": {"enum": ["clock", "change"]},
        "id": {"type": "string", "description": "Of a `change`: its position in the audit log."},
        "data": {"type": "string", "description": "Of `clock` a time; of `change` action, project and time as JSON."},
    },
    "required": ["event", "data"],
}
_EXAMPLE = {"event": "change", "id": "4711", "data": '{"action": "deletion.cancelled", "project": "prj_…", "at": "…"}'}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _EVENT, "example": _EXAMPLE}}}
}


class EventStream(StreamingResponse):
    """Server-sent events (HTML, section 9.2)."""

    media_type = "text/event-stream"


@router.get("/events", summary="Follow what happens", response_class=EventStream, responses=_STREAM)
async def events(context: ContextOf, actor: ActorOf, credentials: CredentialsOf) -> EventStream:
    """Tells of each new line of the audit log of the workspace, about a second after it is written.

    `change` says which action of which project; read the resource for the rest. What happened while nobody listened is
    in the audit log; who does not keep up gets one `missed` of no project instead of all that waited. `clock` comes
    first, and every 20 seconds: the time of the server. The stream ends when the key is revoked. A key may have 50
    streams (429 `too_many_streams`).
    """
    return stream(context, actor, partial(who, context, credentials))


def stream(context: Context, actor: Actor, again: Callable[[], Awaitable[object]]) -> EventStream:
    """The events of the actor's workspace, until the listener goes away or may no longer listen.

    Args:
        context: the connections of the process.
        actor: who listens.
        again: asked before each `clock`; what it refuses ends the stream.

    Raises:
        LifecycleError: `too_many_streams`. A few more get through when they come at the same moment.
    """
    if context.changes.watching(actor.key) >= STREAMS_OF_A_KEY:
        raise LifecycleError(Code.TOO_MANY_STREAMS, limit=str(STREAMS_OF_A_KEY), retry_after_seconds="20")
    return EventStream(_told(context, actor, again), headers=_HEADERS)


async def _told(context: Context, actor: Actor, again: Callable[[], Awaitable[object]]) -> AsyncIterator[str]:
    time = asyncio.get_running_loop().time
    async with context.changes.watched(actor.workspace, actor.key) as queue:
        next_clock = time()
        while True:
            if time() >= next_clock:
                try:
                    await again()
                except LifecycleError:
                    return
                yield f"event: clock\ndata: {clock.rfc3339(clock.now())}\n\n"
                next_clock = time() + _BETWEEN_CLOCKS.total_seconds()
            try:
                change = await asyncio.wait_for(queue.get(), max(next_clock - time(), 0))
            except TimeoutError:
                continue
            yield _shown(change)


def _shown(change: Change) -> str:
    data = {"action": change.action, "project": change.project, "at": clock.rfc3339(change.at)}
    return f"event: change\nid: {change.position}\ndata: {json.dumps(data)}\n\n"
