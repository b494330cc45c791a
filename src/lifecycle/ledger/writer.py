"""Writes ledger entries in groups: whatever arrives while one transaction runs goes into the next.

The same transaction writes the deliveries that tell people of them.

Each handler still waits until its own entry is committed; only the commit is shared. Alone, a worker under
load would spend more time in MySQL than on decisions.
"""

import asyncio
import contextvars
import logging
from collections.abc import Mapping
from typing import NamedTuple

from lifecycle import clock
from lifecycle.db import Connection, Database, DatabaseDownError
from lifecycle.ledger import recording
from lifecycle.ledger.entry import Entry

_LARGEST_GROUP = 200
# The list may lag by this; a commit for each entry alone would cost more than all the rest of it.
_GATHER_SECONDS = 0.02
_log = logging.getLogger(__name__)


Deliveries = tuple[str, ...]


class _Waiting(NamedTuple):
    entry: Entry
    done: asyncio.Future[Deliveries]


class Writer:
    """The group commit in front of the ledger's tables.

    Args:
        db: where they are.
        mail: whether people can be told by mail.
    """

    def __init__(self, db: Database, *, mail: bool = False) -> None:
        self._db = db
        self._mail = mail
        self._queue: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, entry: Entry) -> Deliveries:
        """Return when `entry` is committed, with the ids of the deliveries that tell people of it.

        They come in the same order, whenever the entry is written again.

        Raises:
            DatabaseDownError: it is not, or it is not known; writing it again is safe.
        """
        done: asyncio.Future[Deliveries] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(entry, done))
        if self._task is None or self._task.done():
            # Its log lines are about no entry more than another, also not the one that came first.
            self._task = asyncio.create_task(self._drain(), context=contextvars.Context())
        return await done

    async def _drain(self) -> None:
        while self._queue:
            await asyncio.sleep(_GATHER_SECONDS)
            group, self._queue = self._queue[:_LARGEST_GROUP], self._queue[_LARGEST_GROUP:]
            try:
                told = await self._commit(group)
            except DatabaseDownError as error:
                _fail(group, error)
            except Exception as error:  # noqa: BLE001  one bad entry must not fail its neighbours
                await self._one_by_one(group, error)
            else:
                for waiting in group:
                    if not waiting.done.done():
                        waiting.done.set_result(told.get(waiting.entry.id, ()))

    async def _one_by_one(self, group: list[_Waiting], error: Exception) -> None:
        if len(group) == 1:
            _log.error("ledger entry %s cannot be written", group[0].entry.id, exc_info=error)
            _fail(group, error)
            return
        for waiting in group:
            try:
                told = await self._commit([waiting])
            except Exception as single:  # noqa: BLE001  handed to whoever waits for this entry
                _fail([waiting], single)
            else:
                if not waiting.done.done():
                    waiting.done.set_result(told.get(waiting.entry.id, ()))

    async def _commit(self, group: list[_Waiting]) -> Mapping[str, Deliveries]:
        entries = [waiting.entry for waiting in group]

        async def work(connection: Connection) -> Mapping[str, Deliveries]:
            return await recording.record(connection, entries, mail=self._mail, now=clock.now())

        return await self._db.transaction(work)


def _fail(group: list[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)
