"""Processes that hang: there, connected, and silent."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lifecycle.dev.process import Child
from tests.support.waiting import eventually


@asynccontextmanager
async def frozen(child: Child) -> AsyncIterator[None]:
    """SIGSTOP for the time of the block: the process is there, keeps its connections, and says nothing."""
    child.signal(signal.SIGSTOP)
    try:
        # A thread that just works may finish a request before it hears of it.
        await eventually(lambda: _stands_still(child), within=5)
        yield
    finally:
        child.signal(signal.SIGCONT)


def _stands_still(child: Child) -> bool:
    threads = Path(f"/proc/{child.pid}/task")
    if not threads.exists():  # not Linux
        return True
    try:
        # The state follows the name of the program, which is in parentheses and may contain anything.
        return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads.glob("*/stat"))
    except OSError:  # a thread that has just ended
        return False
