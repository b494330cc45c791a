"""What is new in the audit log, for whoever watches: one question a second to the database, however many watch."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
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
_log = logging.getLogger(__name__)


class _Watcher(NamedTuple):
    workspace: str
    key: str
    queue: asyncio.Queue[Change]


class Changes:
    """Follows the audit log while somebody watches.

    Args:
        db: where the log is.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._watchers: set[_Watcher] = set()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watched(self, workspace: str, key: str) -> AsyncIterator[asyncio.Queue[Change]]:
        """What happens in a workspace from now on; a watcher that does not keep up loses the oldest.

        Args:
            workspace: id of the workspace.
            key: id of the API key that watches.
        """
        watcher = _Watcher(workspace, key, asyncio.Queue[Change](_KEPT))
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        try:
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

    async def _follow(self) -> None:
        first = last = 0
        known: set[int] = set()
        while self._watchers:
            try:
                found = await store.changes(
                    self._db, after=max(last - _LATE, first) if last else None, limit=_KEPT + _LATE
                )
            except DatabaseDownError:
                found = ()  # shows elsewhere; after it this goes on where it was
            except Exception:  # noqa: BLE001  whatever it is, those who watch must hear of what comes after it
                _log.exception("the audit log could not be read; asking again")
                found = ()
            if found:
                first = first or max(change.position for change in found)
                for change in found if last else ():
                    if change.position not in known:
                        self._tell(change)
                last = max(last, *(change.position for change in found))
                known = {change.position for change in found}
            await asyncio.sleep(_PAUSE.total_seconds())

    def _tell(self, change: Change) -> None:
        for watcher in self._watchers:
            if watcher.workspace == change.workspace:
                if watcher.queue.full():
                    watcher.queue.get_nowait()
                watcher.queue.put_nowait(change)
