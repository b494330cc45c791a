"""SQL: sessions of the console that were ended before their time."""

from datetime import datetime, timedelta

from lifecycle.db import Connection, Database

_FORGOTTEN_AT_ONCE = 1000


async def insert(db: Database, session: str, *, forgotten_at: datetime, now: datetime, deadline: timedelta) -> None:
    """Note that a session is ended, and forget those that would have ended by themselves meanwhile."""

    async def work(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO ended_sessions (id, forgotten_at) VALUES (%s, %s) ON DUPLICATE KEY UPDATE id = id",
            session,
            forgotten_at,
        )
        await connection.execute(
            "DELETE FROM ended_sessions WHERE forgotten_at < %s ORDER BY forgotten_at LIMIT %s", now, _FORGOTTEN_AT_ONCE
        )

    await db.transaction(work, deadline=deadline)


async def has(db: Database, session: str, *, deadline: timedelta) -> bool:
    """Whether a session was ended, if the database answers before the deadline."""
    return await db.one("SELECT 1 FROM ended_sessions WHERE id = %s", session, deadline=deadline) is not None
