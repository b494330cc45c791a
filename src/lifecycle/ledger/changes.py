"""What is new in the audit log, for whoever watches: one question a second to the database, however many watch."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

from lifecycle.db import Database, DatabaseDownError
from lifecycle.ledger import store
from lifecycle.ledger.store import Change

_PAUSE = timedelta(seconds=1)
_KEPT = 256
# Positions are given out before the commit, so that an earlier one may be seen after a later one.
_LATE = 200
# The action of a change that stands for all that a watcher did not keep up with, of whatever project.
MISSED = "missed"
_log = logging.getLogger(__name__)


class _Watcher(NamedTuple):
    workspace: str
    key: str
    queue: asyncio.Queue[Change]

    def tell(self, change: Change) -> None:
        """Let it know; what it did not keep up with becomes one change that may be any."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            change = change._replace(action=MISSED, project=None)
        self.queue.put_nowait(change)


class Changes:
    """Follows the audit log while somebody watches.

    Args:
        db: where the log is.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._watchers: set[_Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    @asynccontextmanager
    async def watched(self, workspace: str, key: str) -> AsyncIterator[asyncio.Queue[Change]]:
        """What happens in a workspace from now on; the log is being followed when this begins.

        A watcher that does not keep up gets one `MISSED` of no project instead of all that waited for it.

        Args:
            workspace: id of the workspace.
            key: id of the API key that watches.
        """
        watcher = _Watcher(workspace, key, asyncio.Queue[Change](_KEPT))
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._begun = asyncio.Event()
            self._task = asyncio.create_task(self._follow(self._begun))
        try:
            # What is committed before the end of the log is known would be told to nobody.
            await self._begun.wait()
            yield watcher.queue
        finally:
            self._watchers.discard(watcher)

    def watching(self, key: str) -> int:
        """How many watch with an API key, in this process."""
        return sum(watcher.key == key for watcher in self._watchers)

    async def close(self) -> None:
        """End the questions."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self, begun: asyncio.Event) -> None:
        last: int | None = None
        known: set[int] = set()
        while self._watchers:
            found: Sequence[Change] = ()
            try:
                if last is None:
                    last, known = await self._end()
                    begun.set()
                found = await store.changes(self._db, after=last - _LATE, limit=_KEPT + _LATE)
            except DatabaseDownError:
                pass  # shows elsewhere; after it this goes on where it was
            except Exception:  # noqa: BLE001  whatever it is, those who watch must hear of what comes after it
                _log.exception("the audit log could not be read; asking again")
            if last is not None and found:
                for change in found:
                    if change.position not in known:
                        self._tell(change)
                last = max(last, *(change.position for change in found))
                known = {change.position for change in found}
            await asyncio.sleep(_PAUSE.total_seconds())

    async def _end(self) -> tuple[int, set[int]]:
        """The last position of the log, and those before it that are there already."""
        last = max((change.position for change in await store.changes(self._db, after=None, limit=1)), default=0)
        there = await store.changes(self._db, after=last - _LATE, limit=_LATE)
        return last, {change.position for change in there}

    def _tell(self, change: Change) -> None:
        for watcher in self._watchers:
            if watcher.workspace == change.workspace:
                watcher.tell(change)
