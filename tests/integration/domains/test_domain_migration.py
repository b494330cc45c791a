"""Domains of a release without verification are brought into one with it, on a database of their own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pymysql
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url

from lifecycle import clock, migrate
from lifecycle.db import Database
from lifecycle.deploy.model import Environment
from lifecycle.deploy.verification import store as verification_store
from lifecycle.deploy.verification.model import Status
from lifecycle.deploy.verification.store import Refusal
from tests.support import databases

_HOST = "www.example.com"


@pytest.fixture
async def db() -> AsyncIterator[Database]:
    """A database as the former release left it: two projects, of which one has a domain."""
    async with databases.private() as server:
        opened = Database(server.url, size=4, deadline=timedelta(seconds=20))
        await asyncio.to_thread(_upgrade_to, server.url, "0004")
        await opened.execute("INSERT INTO workspaces (id, name, created_at) VALUES ('ws_1', 'one', %s)", clock.now())
        for project in ("prj_1", "prj_2"):
            await opened.execute(
                "INSERT INTO projects (id, workspace_id, slug, name, state, created_at) VALUES (%s, 'ws_1', %s, %s, "
                "'active', %s)",
                *(project, project, project, clock.now()),
            )
        await opened.execute(
            "INSERT INTO domains (id, project_id, hostname, kind, created_at) VALUES ('dom_1', 'prj_1', %s, 'custom', "
            "%s)",
            *(_HOST, clock.now()),
        )
        await opened.execute(
            "INSERT INTO routes (hostname, project_id, environment, kind, sticky, created_at) VALUES (%s, 'prj_1', "
            "'preview', 'custom', 'preview', %s)",
            *(_HOST, clock.now()),
        )
        await asyncio.to_thread(migrate.upgrade, server.url)
        yield opened
        await opened.close()


async def test_whoever_had_a_domain_owns_it(db: Database) -> None:
    """An update takes no domain off the air, and gives each a token, so that it can be verified like a new one."""
    found = (await verification_store.listed(db, "prj_1"))[_HOST].claim

    assert (found.status, found.environment) == (Status.VERIFIED, Environment.PREVIEW)
    assert found.verified_at is not None
    assert len(found.token) >= 32


async def test_the_database_itself_lets_one_project_own_a_domain(db: Database) -> None:
    """Whatever goes wrong above it: two claims there may be, two owners not."""
    claimed = await _claim(db, "prj_2", verify=True)
    with pytest.raises(pymysql.err.IntegrityError, match="domains_owned"):
        await db.execute("UPDATE domains SET status = 'verified' WHERE project_id = 'prj_2'")
    refused = await _claim(db, "prj_2", verify=False)

    assert isinstance(claimed, verification_store.Claimed)
    assert claimed.status is Status.PENDING
    assert refused is Refusal.TAKEN


async def test_nothing_is_added_to_a_project_that_is_being_purged(db: Database) -> None:
    """A claim that came in the middle of a purge would keep the project from ever being gone."""
    await db.execute("UPDATE projects SET state = 'purging' WHERE id = 'prj_2'")

    assert await _claim(db, "prj_2", verify=True) is Refusal.ENDING
    assert await _claim(db, "prj_3", verify=True) is Refusal.NO_PROJECT


async def _claim(db: Database, project: str, *, verify: bool) -> verification_store.Claimed | Refusal:
    return await verification_store.claim(
        db, project, _HOST, Environment.PRODUCTION, "token", verify=verify, now=clock.now()
    )


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
