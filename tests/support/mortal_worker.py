"""A real worker that dies of SIGKILL at one exact point, once, and is there again at once.

    python -m tests.support.mortal_worker FOLDER

`FOLDER/plan.json` names the point, `{"point": "Rollout/run/accept", "when": "before"}`: a step of a handler, or a
whole handler without the third part. The process that comes there removes the plan and kills itself; `after` means
that all was done and the engine has not heard of it. Every point that is passed is appended to `FOLDER/points`, every
death to `FOLDER/deaths`.

The process that the stack starts only forks workers, each with everything imported, so that a death costs little time.
"""

import ctypes
import functools
import inspect
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn.loops.uvloop
import uvicorn.protocols.http.httptools_impl  # noqa: F401  loaded once, before the forks
from restate import handler as restate_handler
from restate import server_context
from restate.server_context import ServerInvocationContext

from lifecycle import endpoint  # noqa: F401  loaded once, before the forks
from lifecycle.cli import servers

FOLDER = Path(sys.argv[-1])
_PR_SET_PDEATHSIG = 1


def main(change: Callable[[], None] = lambda: None) -> None:
    """Fork a worker, and another one whenever it was killed.

    Args:
        change: what else is changed in each worker before it serves.
    """
    running = 0

    def stop(number: int, _: FrameType | None) -> None:
        os.kill(running, number)

    signal.signal(signal.SIGTERM, stop)
    while True:
        running = os.fork()
        if running == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _serve(change)
        _, status = os.waitpid(running, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(0)


def _serve(change: Callable[[], None]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _make_mortal()
    change()
    try:
        servers.worker()
    finally:
        os._exit(0)


def _make_mortal() -> None:
    run_typed, invoke_handler = ServerInvocationContext.run_typed, restate_handler.invoke_handler

    def mortal_run(self: Any, name: str, action: Callable[..., Awaitable[Any]], *given: Any, **arguments: Any) -> Any:
        point = f"{_handler(self.handler)}/{name}"
        if not inspect.iscoroutinefunction(action):  # a look at the clock
            return run_typed(self, name, action, *given, **arguments)

        @functools.wraps(action)
        async def mortal(*given: Any, **arguments: Any) -> Any:
            pass_point(point, "before")
            result = await action(*given, **arguments)
            pass_point(point, "after")
            return result

        return run_typed(self, name, mortal, *given, **arguments)

    async def mortal_invoke(*, handler: Any, **given: Any) -> bytes:
        pass_point(_handler(handler), "before")
        result = await invoke_handler(handler=handler, **given)
        pass_point(_handler(handler), "after")
        return result

    ServerInvocationContext.run_typed = mortal_run  # type: ignore[method-assign,assignment]
    vars(server_context)["invoke_handler"] = mortal_invoke


def _handler(handler: Any) -> str:
    return f"{handler.service_tag.name}/{handler.name}"


def pass_point(point: str, when: str) -> None:
    """Note that this point is passed, `before` or `after`; and die, if that is the plan."""
    plan = FOLDER / "plan.json"
    note("points", f"{point} {when}")
    try:
        wanted = json.loads(plan.read_text())
    except FileNotFoundError:
        return
    if wanted == {"point": point, "when": when}:
        plan.unlink()
        note("deaths", f"{point} {when}")
        os.kill(os.getpid(), signal.SIGKILL)


def note(name: str, line: str) -> None:
    """Append a line to a file of the folder."""
    with (FOLDER / name).open("a") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    main()
