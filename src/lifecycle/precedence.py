"""Decisions go first: what else a worker does waits while wake-ups arrive, and never for ever.

A wake-up is promised on time; a purge is promised to happen. One worker has one event loop for both. A purge costs
ten times what the decision to begin it costs, and a full garbage collection stops everything for a tenth of a second.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

# So long after a wake-up the next one is expected; nothing else begins meanwhile.
_CALM_AFTER = timedelta(milliseconds=100)
# In a row of wake-ups the work of all but the first begins later: even to hold it back costs what a decision costs.
_WORK_LATER = timedelta(seconds=5)
# While wake-ups never stop, each step of a purge begins all the same when it was the next one for so long.
_PATIENCE = timedelta(seconds=1)
_COLLECT_EVERY = timedelta(milliseconds=500)
# Collections of the second generation before one of the third in a calm moment, and before one at any moment.
_WANTED, _NEEDED = 50, 5000


class Precedence:
    """Lets steps of purges begin, few at a time, when no decision is near.

    Args:
        steps_at_once: most steps at a time.
    """

    def __init__(self, steps_at_once: int) -> None:
        self._steps = asyncio.Semaphore(steps_at_once)
        self._calm_at = 0.0

    def deciding(self) -> timedelta:
        """A wake-up is being decided now; returns after how long the work that follows from it should begin."""
        now = time.monotonic()
        calm = now >= self._calm_at
        self._calm_at = now + _CALM_AFTER.total_seconds()
        return timedelta(0) if calm else _WORK_LATER

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        """The block is one step of a purge; it begins in a calm moment, or when it has waited long enough."""
        async with self._steps:
            latest = time.monotonic() + _PATIENCE.total_seconds()
            while (now := time.monotonic()) < (begin := min(self._calm_at, latest)):
                await asyncio.sleep(begin - now)
            yield

    @asynccontextmanager
    async def collecting(self) -> AsyncIterator[None]:
        """While the block runs, full garbage collections of the process wait for calm moments too."""
        gc.collect()
        gc.freeze()  # what was loaded at the start stays, and need not be looked at each time
        thresholds = gc.get_threshold()
        gc.set_threshold(700, 2, 10 * _NEEDED)  # many collections of the second generation, each a millisecond
        collecting = asyncio.create_task(self._collect())
        try:
            yield
        finally:
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            collecting.cancel()
            with suppress(asyncio.CancelledError):
                await collecting

    async def _collect(self) -> None:
        while True:
            await asyncio.sleep(_COLLECT_EVERY.total_seconds())
            waiting = gc.get_count()[2]
            if waiting > _NEEDED or (waiting > _WANTED and time.monotonic() > self._calm_at):
                gc.collect()
