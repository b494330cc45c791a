"""Sessions of the console that were ended by signing out, so that a copy of their cookie opens nothing any more.

Sessions themselves are not stored, only the ends of those that were ended, until they would have ended by themselves.
"""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any

from lifecycle import clock
from lifecycle.access import ended_sessions_store as store
from lifecycle.db import Database, DatabaseDownError

_REMEMBERED = 10_000
# A database that hangs must leave time for a cancel, and keep nobody who signs out waiting.
_DEADLINE = timedelta(seconds=2)


class EndedSessions:
    """Answers whether a session was ended.

    Args:
        db: where the ends are.
        ttl: how long "it was not" counts as fresh: one that is ended through another process works at most that long.
    """

    def __init__(self, db: Database, *, ttl: timedelta) -> None:
        self._db = db
        self._ttl = ttl
        self._open_until: OrderedDict[str, datetime] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()

    async def has(self, session: str) -> bool:
        """Whether a session was ended; while the database is down, as far as this process knows."""
        if session in self._ended:
            return True
        open_until = self._open_until.get(session)
        if open_until is not None and clock.now() < open_until:
            return False
        try:
            is_over = await store.has(self._db, session, deadline=_DEADLINE)
        except DatabaseDownError:
            is_over = False
        if not is_over:
            self._remember(session)
        return is_over

    async def add(self, session: str, *, ends_at: datetime) -> None:
        """End a session that would end at `ends_at`: in this process in any case, and at once.

        Raises:
            DatabaseDownError: it may not be ended in others.
        """
        # A request that is under way may be told "it was not" yet, and remember that afterwards.
        self._ended[session] = None
        _forget_oldest(self._ended)
        await store.insert(self._db, session, forgotten_at=ends_at, now=clock.now(), deadline=_DEADLINE)

    def _remember(self, session: str) -> None:
        self._open_until[session] = clock.now() + self._ttl
        self._open_until.move_to_end(session)
        _forget_oldest(self._open_until)


def _forget_oldest(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)
