"""Migrations on a database of their own: from every release before, and again after an accident."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url

from lifecycle import clock, migrate
from lifecycle.db import Database
from lifecycle.dev.servers import MariaDb
from lifecycle.ledger import store
from lifecycle.ledger.entry import Entry
from tests.support import databases

ENTRY = Entry(id="x.1", sequence=1, workspace="ws_1", project="prj_1", action="test", at=clock.now())


@pytest.fixture
async def empty() -> AsyncIterator[MariaDb]:
    """A MariaDB of our own without any table."""
    async with databases.private() as database:
        yield database


@pytest.fixture
async def db(empty: MariaDb) -> AsyncIterator[Database]:
    """Connections to it."""
    opened = Database(empty.url, size=2, deadline=timedelta(seconds=20))
    yield opened
    await opened.close()


async def test_a_database_of_the_former_release_is_brought_up_to_date_with_what_is_in_it(
    empty: MariaDb, db: Database
) -> None:
    """An update keeps the audit log, and lets it be read in the order of time."""
    await asyncio.to_thread(_upgrade_to, empty.url, "0001")
    await db.transaction(lambda connection: store.record(connection, [ENTRY]))
    former = await _keys(db)
    revisions = await asyncio.to_thread(migrate.upgrade, empty.url)
    kept = await store.list_audit(db, store.AuditFilter("ws_1", project="prj_1"), before=None, limit=10)

    assert revisions == ("0001", migrate.newest())
    assert former.keys() - (await _keys(db)).keys() == {"audit_by_workspace", "audit_by_project"}
    assert (await _keys(db))["audit_by_time"] == ["workspace_id", "at", "position"]
    assert (await _keys(db))["audit_of_project_by_time"] == ["project_id", "at", "position"]
    assert [row.id for row in kept] == [ENTRY.id]


@pytest.mark.parametrize("revision", [None, "0001"])
async def test_a_migration_that_was_interrupted_is_run_again(
    empty: MariaDb, db: Database, revision: str | None
) -> None:
    """What ended between a statement and the note that it is done is repeated, and comes to the same schema."""
    await asyncio.to_thread(migrate.upgrade, empty.url)
    await db.transaction(lambda connection: store.record(connection, [ENTRY]))
    before = await _schema(db)
    await db.execute("DELETE FROM alembic_version")
    if revision:
        await db.execute("INSERT INTO alembic_version (version_num) VALUES (%s)", revision)
    revisions = await asyncio.to_thread(migrate.upgrade, empty.url)

    assert revisions == (revision, migrate.newest())
    assert await _schema(db) == before
    assert await db.one("SELECT COUNT(*) AS n FROM audit_log") == {"n": 1}


async def test_the_audit_log_is_read_along_a_key(empty: MariaDb, db: Database) -> None:
    """A page costs the same however long the log is: nothing is sorted, for a workspace and for a project."""
    await asyncio.to_thread(migrate.upgrade, empty.url)
    entries = [ENTRY.model_copy(update={"id": f"x.{n}", "at": ENTRY.at + timedelta(seconds=n)}) for n in range(2000)]
    await db.transaction(lambda connection: store.record(connection, entries))
    await db.execute("ANALYZE TABLE audit_log")
    plan = await db.one(
        "EXPLAIN SELECT * FROM audit_log WHERE workspace_id = %s ORDER BY at DESC, position DESC LIMIT 10", "ws_1"
    )

    assert plan is not None
    assert plan["key"] == "audit_by_time"
    assert "filesort" not in plan["Extra"]


def _upgrade_to(url: str, revision: str) -> None:
    """Run the migrations up to this one, as the release did that knew no more."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
    finally:
        engine.dispose()


async def _keys(db: Database) -> dict[str, list[str]]:
    """The keys of the audit log, with their columns."""
    found: dict[str, list[str]] = {}
    for row in await db.all(
        "SELECT index_name AS name, column_name AS part FROM information_schema.statistics "
        "WHERE table_schema = DATABASE() AND table_name = 'audit_log' ORDER BY index_name, seq_in_index"
    ):
        found.setdefault(row["name"], []).append(row["part"])
    return found


async def _schema(db: Database) -> list[str]:
    """Every table as the database would make it again."""
    tables = await db.all("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()")
    made = [await db.one(f"SHOW CREATE TABLE {table['name']}") for table in tables]
    return sorted(str(one["Create Table"]) for one in made if one is not None)
