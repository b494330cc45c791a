"""People are told of every certificate that ends, whatever keeps it from being renewed."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from lifecycle import clock, migrate
from lifecycle.certs import watch
from lifecycle.db import Database
from tests.support import databases

DAY = timedelta(days=1)
SHARE = 0.5


@pytest.fixture
async def db() -> AsyncIterator[Database]:
    """A database that nobody else looks at."""
    async with databases.private() as server:
        await asyncio.to_thread(migrate.upgrade, server.url)
        opened = Database(server.url, size=4, deadline=timedelta(seconds=20))
        yield opened
        await opened.close()


async def test_whatever_is_not_renewed_is_told_with_its_reason(db: Database) -> None:
    """Cancelled, stopped because a name was lost, or still tried: each is named, and why nothing came of it."""
    now = clock.now()
    project = await _project(db, "active", now)
    await _served(db, "tried", now, ends=10 * DAY, renewal=now, error="The CA is down.")
    await _served(db, "cancelled", now, ends=10 * DAY, project=project)
    await _served(db, "lost", now, ends=10 * DAY, error="It is renewed no more, because x belongs to somebody else.")
    await _served(db, "failed", now, ends=10 * DAY, status="failed", error="The CA said no.")
    told = await _told(db, now)

    assert set(told) == {"tried", "cancelled", "lost", "failed"}
    assert "The CA is down." in told["tried"]
    assert "Nobody renews it: its renewal was cancelled." in told["cancelled"]
    assert "belongs to somebody else" in told["lost"]
    assert all(one.startswith("it expires at ") for one in told.values())


async def test_nobody_is_told_of_what_is_meant_to_end(db: Database) -> None:
    """Revoked, removed, of a project that is being deleted, or with more than the set share of its life left."""
    now = clock.now()
    purging = await _project(db, "purging", now)
    await _served(db, "revoked", now, ends=10 * DAY, status="revoked")
    await _served(db, "removed", now, ends=10 * DAY, status="removed")
    await _served(db, "purged", now, ends=10 * DAY, project=purging)
    await _served(db, "young", now, ends=89 * DAY)
    await _served(db, "left-to-expire", now, ends=-4 * DAY)

    assert await _told(db, now) == {}


async def test_what_expired_long_ago_hides_nothing_new(db: Database) -> None:
    """A hundred domains whose owners let go of them: the one that ends tomorrow is told all the same."""
    now = clock.now()
    for number in range(110):
        await _served(db, f"long-over-{number}", now, ends=-(number + 5) * DAY, renewal=now, error="Nobody answers.")
    await _served(db, "tomorrow", now, ends=DAY, renewal=now)
    await _served(db, "yesterday", now, ends=-DAY)
    told = await _told(db, now)

    assert told["tomorrow"].startswith("it expires at ")
    assert told["yesterday"].startswith("it expired at ")
    assert len(told) == 101


async def _told(db: Database, now: datetime) -> Mapping[str, str]:
    """By the first part of its name, what is said of each certificate."""
    found: Sequence[watch.RunningOut] = await watch.running_out(db, now=now, share=SHARE)
    return {one.domain.partition(".")[0]: one.detail for one in found}


async def _project(db: Database, state: str, now: datetime) -> str:
    identity = f"prj_{secrets.token_hex(6)}"
    await db.execute("INSERT IGNORE INTO workspaces (id, name, created_at) VALUES ('ws', 'ws', %s)", now)
    await db.execute(
        "INSERT INTO projects (id, workspace_id, slug, name, state, generation, sequence, protected, created_at) "
        "VALUES (%s, 'ws', %s, %s, %s, 1, 1, 0, %s)",
        *(identity, identity, identity, state, now),
    )
    return identity


async def _served(
    db: Database,
    name: str,
    now: datetime,
    *,
    ends: timedelta,
    status: str = "active",
    renewal: datetime | None = None,
    error: str = "",
    project: str | None = None,
) -> None:
    """A certificate of 90 days that is in use and ends so long from now, and how its domain stands."""
    domain, identity, end = f"{name}.example.com", f"crt_{secrets.token_hex(8)}", now + ends
    await db.execute(
        "INSERT INTO certificates (id, domain, version, workspace_id, project_id, issuance_id, ca, names, status, "
        "serial, issuer, not_before, not_after, cause, chain, sealed_key, key_digest, created_at) VALUES "
        "(%s, %s, 1, 'ws', %s, %s, 'ca', '[]', 'served', '1', 'CN=CA', %s, %s, 'renewal', 'pem', 'sealed', '', %s)",
        *(identity, domain, project, identity, end - 90 * DAY, end, now),
    )
    await db.execute(
        "INSERT INTO certificate_domains (domain, workspace_id, project_id, names, challenge, status, next_renewal_at, "
        "last_error, sequence, updated_at) VALUES (%s, 'ws', %s, '[]', '', %s, %s, %s, 1, %s)",
        *(domain, project, status, renewal, error, now),
    )
