"""The baseline: what one would write with Restate alone. Run as `python benchmarks/_bare.py PORT`.

A virtual object that reads its state, sets it and sends itself one delayed call: no rules, no audit log, no
database. Served as our worker is: uvicorn with httptools and uvloop, one process.
"""

import sys
from datetime import datetime, timedelta

import restate
import uvicorn
from pydantic import BaseModel
from restate import ObjectContext, VirtualObject
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from lifecycle import clock

bare = VirtualObject("Bare")
_LATENESS: list[float] = []


class Timer(BaseModel):
    """All that the object remembers."""

    generation: int = 0
    due_at: datetime | None = None
    cancelled_at: datetime | None = None


class Ask(BaseModel):
    """Ask for something; `due_at` is for schedule."""

    now: datetime
    due_at: datetime | None = None


class Due(BaseModel):
    """A delayed call, which knows when it was due."""

    due_at: datetime


@bare.handler()
async def schedule(ctx: ObjectContext, ask: Ask) -> Timer:
    """Read the state, set it, send one delayed call."""
    timer = await ctx.get("timer", type_hint=Timer) or Timer()
    due_at = ask.due_at or ask.now + timedelta(days=3)
    armed = Timer(generation=timer.generation + 1, due_at=due_at)
    ctx.set("timer", armed)
    # The wall clock is what a bare handler may read; ours counts from the request, which a replay repeats.
    ctx.object_send(wake, ctx.key(), Due(due_at=due_at), send_delay=due_at - clock.now())
    return armed


@bare.handler()
async def cancel(ctx: ObjectContext, ask: Ask) -> Timer:
    """Read the state, set it."""
    timer = await ctx.get("timer", type_hint=Timer) or Timer()
    cancelled = Timer(generation=timer.generation + 1, cancelled_at=ask.now)
    ctx.set("timer", cancelled)
    return cancelled


@bare.handler()
async def wake(ctx: ObjectContext, due: Due) -> None:  # noqa: ARG001  the engine passes a context
    """Note how late it is."""
    _LATENESS.append((clock.now() - due.due_at).total_seconds())


_services = restate.app([bare])


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The engine's calls, and `/lateness`: what `wake` noted since the last time this was asked."""
    if scope["type"] == "http" and scope["path"] == "/lateness":
        noted = _LATENESS.copy()
        _LATENESS.clear()
        await JSONResponse(noted)(scope, receive, send)
    else:
        await _services(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=3,
    )
