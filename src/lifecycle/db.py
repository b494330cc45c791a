"""MySQL or MariaDB through one pool: transactions, deadlock retry, and a deadline on everything.

Times go in and come out aware and in UTC. The only importer of aiomysql. SQL itself is in the `store.py` files,
always literal, with `%s`.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import aiomysql
import pymysql.err

from lifecycle.errors import Code, LifecycleError

T = TypeVar("T")
Row = Mapping[str, Any]

# MySQL error numbers: 1213 deadlock found, 1205 lock wait timeout, 1020 record changed since last read (MariaDB).
_RETRIED = frozenset({1213, 1205, 1020})
_ATTEMPTS = 5


class DatabaseDownError(Exception):
    """The database cannot be reached or did not answer in time; retrying may help."""


class Connection:
    """One connection, for the length of a transaction."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement; returns the affected rows."""
        async with self._raw.cursor() as cursor:
            return int(await cursor.execute(sql, [_to_database(value) for value in args]))

    async def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one INSERT for many rows in as few statements as fit."""
        if rows:
            async with self._raw.cursor() as cursor:
                await cursor.executemany(sql, [[_to_database(value) for value in row] for row in rows])

    async def all(self, sql: str, *args: object) -> Sequence[Row]:
        """Every row of a query."""
        async with self._raw.cursor(aiomysql.DictCursor) as cursor:
            await cursor.execute(sql, [_to_database(value) for value in args])
            rows: Sequence[Row] = await cursor.fetchall()
            return [{name: _from_database(value) for name, value in row.items()} for row in rows]

    async def one(self, sql: str, *args: object) -> Row | None:
        """The first row of a query, or None."""
        rows = await self.all(sql, *args)
        return rows[0] if rows else None


class Database:
    """The pool. It connects when it is first needed, so that a process starts while the database is down.

    Args:
        url: `mysql://user:password@host:port/name`.
        size: most connections at a time.
        deadline: longest time for one transaction, waiting for a connection included.
        ca_file: CA certificates that the server's must come from; no TLS without them.
    """

    def __init__(self, url: str, *, size: int, deadline: timedelta, ca_file: Path | None = None) -> None:
        self._parts = urlsplit(url)
        self._size = size
        self._deadline = deadline
        self._tls = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
        self._pool: Any = None
        self._lock = asyncio.Lock()

    async def transaction(self, work: Callable[[Connection], Awaitable[T]], *, deadline: timedelta | None = None) -> T:
        """Run `work` in one transaction and commit; after a deadlock, run it again.

        Raises:
            DatabaseDownError: no connection, or no answer before the deadline. The outcome may be unknown.
        """
        return await self._run(self._once, work, deadline)

    async def all(self, sql: str, *args: object) -> Sequence[Row]:
        """Every row of one query."""
        return await self._run(self._alone, lambda connection: connection.all(sql, *args))

    async def one(self, sql: str, *args: object, deadline: timedelta | None = None) -> Row | None:
        """The first row of one query, or None."""
        return await self._run(self._alone, lambda connection: connection.one(sql, *args), deadline)

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement, which is a transaction by itself; returns the affected rows."""
        return await self._run(self._alone, lambda connection: connection.execute(sql, *args))

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            self._pool.terminate()
            await self._pool.wait_closed()
            self._pool = None

    async def _run(
        self,
        once: Callable[[Callable[[Connection], Awaitable[T]]], Awaitable[T]],
        work: Callable[[Connection], Awaitable[T]],
        deadline: timedelta | None = None,
    ) -> T:
        try:
            async with asyncio.timeout((deadline or self._deadline).total_seconds()):
                for _ in range(_ATTEMPTS - 1):
                    try:
                        return await once(work)
                    except pymysql.err.OperationalError as error:
                        if error.args[0] not in _RETRIED:
                            raise
                return await once(work)
        except TimeoutError as error:
            raise DatabaseDownError("no answer before the deadline") from error
        except (pymysql.err.OperationalError, pymysql.err.InterfaceError, OSError) as error:
            raise DatabaseDownError(str(error.args[-1] if error.args else error)) from error

    async def _once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._connection() as raw:
            await raw.begin()
            try:
                result = await work(Connection(raw))
                await raw.commit()
            except asyncio.CancelledError:
                raw.close()  # mid-statement: the connection cannot be used again
                raise
            except pymysql.err.MySQLError:
                if not raw.closed:
                    await raw.rollback()
                raise
            except BaseException:
                await raw.rollback()
                raise
            return result

    async def _alone(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """One statement, without the two round trips of a transaction around it."""
        async with self._connection() as raw:
            try:
                return await work(Connection(raw))
            except asyncio.CancelledError:
                raw.close()  # mid-statement: the connection cannot be used again
                raise

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        pool = await self._open()
        raw = await pool.acquire()
        try:
            yield raw
        finally:
            await asyncio.shield(_release(pool, raw))

    async def _open(self) -> Any:
        async with self._lock:
            if self._pool is None:
                self._pool = await aiomysql.create_pool(
                    minsize=0,
                    maxsize=self._size,
                    host=self._parts.hostname,
                    port=self._parts.port or 3306,
                    user=unquote(self._parts.username or ""),
                    password=unquote(self._parts.password or ""),
                    db=self._parts.path.lstrip("/"),
                    charset="utf8mb4",
                    autocommit=True,  # `begin` suspends it
                    ssl=self._tls,
                    connect_timeout=self._deadline.total_seconds(),
                    init_command="SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'",
                    pool_recycle=300,
                )
        return self._pool


def _to_database(value: object) -> object:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _from_database(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


async def _release(pool: Any, raw: Any) -> None:
    await pool.release(raw)


def refusal(error: DatabaseDownError) -> LifecycleError:
    """The answer to a request that needed the database."""
    return LifecycleError(Code.DATABASE_UNAVAILABLE, problem=str(error), retry_after_seconds="2")
