"""What nobody needs any more is removed, oldest first and in batches; what somebody may need stays."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from lifecycle import clock, migrate
from lifecycle.certs import orders_store, retention_store
from lifecycle.certs.names import ChallengeType
from lifecycle.certs.retention_store import Kept
from lifecycle.db import Database
from tests.support import databases
from tests.support.issuer import ZONE, Desk, fresh_name
from tests.support.waiting import eventually

DAY = timedelta(days=1)
KEPT = Kept(keys=7 * DAY, certificates=90 * DAY)


@pytest.fixture(scope="module")
async def db() -> AsyncIterator[Database]:
    """A database that nobody else looks at."""
    async with databases.private() as server:
        await asyncio.to_thread(migrate.upgrade, server.url)
        opened = Database(server.url, size=4, deadline=timedelta(seconds=20))
        yield opened
        await opened.close()


async def _version(
    db: Database, name: str, status: str, *, now: datetime, expires: timedelta, retired: timedelta | None = None
) -> str:
    """A version that expires so long from now, and was retired so long ago; returns its id."""
    identity = f"crt_{name}{secrets.token_hex(6)}"
    await db.execute(
        "INSERT INTO certificates (id, domain, version, workspace_id, issuance_id, ca, names, status, serial, issuer, "
        "not_before, not_after, cause, chain, sealed_key, key_digest, created_at, retired_at) VALUES (%s, %s, 1, 'ws', "
        "%s, 'ca', '[]', %s, '1', 'CN=CA', %s, %s, 'renewal', 'pem', 'sealed', '', %s, %s)",
        *(identity, f"{identity}.example.com", identity.replace("crt", "iss"), status),
        *(now - 200 * DAY, now + expires, now, None if retired is None else now - retired),
    )
    return identity


async def test_keys_of_certificates_that_nobody_gets_are_destroyed(db: Database) -> None:
    """A week after another took its place, or as soon as it has expired; never that of what is served."""
    now = clock.now()
    wanted = {
        await _version(db, "a", "former", now=now, expires=30 * DAY, retired=8 * DAY): True,
        await _version(db, "b", "former", now=now, expires=30 * DAY, retired=6 * DAY): False,
        await _version(db, "c", "former", now=now, expires=-DAY, retired=2 * DAY): True,
        await _version(db, "d", "revoked", now=now, expires=30 * DAY, retired=8 * DAY): True,
        await _version(db, "e", "stored", now=now, expires=30 * DAY, retired=8 * DAY): True,
        await _version(db, "f", "stored", now=now, expires=30 * DAY): False,
        await _version(db, "g", "served", now=now, expires=-DAY): False,
    }
    destroyed = await retention_store.destroy_keys(db, KEPT, now, limit=100)
    again = await retention_store.destroy_keys(db, KEPT, now, limit=100)
    rows = {row["id"]: row["sealed_key"] == "" for row in await db.all("SELECT id, sealed_key FROM certificates")}

    assert {one: rows[one] for one in wanted} == wanted
    assert (destroyed, again) == (4, 0)


async def test_rows_are_removed_when_nobody_can_ask_for_them(db: Database) -> None:
    """Certificates three months after they expired, orders a month after they ended, challenges after a day."""
    now = clock.now()
    gone = await _version(db, "h", "former", now=now, expires=-91 * DAY, retired=100 * DAY)
    kept = [
        await _version(db, "i", "former", now=now, expires=-89 * DAY, retired=100 * DAY),
        await _version(db, "j", "served", now=now, expires=-91 * DAY),
    ]
    for name, ended in (("old", now - 31 * DAY), ("young", now - 29 * DAY), ("open", None)):
        await db.execute(
            "INSERT INTO acme_orders (issuance_id, domain, workspace_id, ca, account_url, url, names, sealed_key, "
            "status, created_at, ended_at) VALUES (%s, 'd', 'ws', 'ca', '', %s, '[\"d\"]', '', 'valid', %s, %s)",
            *(name, f"https://ca.example/{name}", now - 40 * DAY, ended),
        )
        await _published(db, f"c-{name}", created=now - 40 * DAY, removed=ended and ended + 29 * DAY)
    await retention_store.forget(db, KEPT, now, limit=100)
    await retention_store.forget(db, KEPT, now, limit=100)
    certificates = {row["id"] for row in await db.all("SELECT id FROM certificates")}
    orders = {row["issuance_id"] for row in await db.all("SELECT issuance_id FROM acme_orders")}
    challenges = {row["issuance_id"] for row in await db.all("SELECT issuance_id FROM challenges")}

    assert gone not in certificates
    assert certificates >= set(kept)
    assert (orders, challenges) == ({"young", "open"}, {"c-young", "c-open"})
    # A CA lists what is open for a week: of that nothing is taken for somebody else's.
    assert await orders_store.known_orders(db, ["https://ca.example/young", "https://ca.example/old"]) == {
        "https://ca.example/young"
    }
    assert [one.ca for one in await retention_store.open_orders(db, "open")] == ["ca"]
    assert await retention_store.open_orders(db, "young") == []


async def test_a_batch_takes_the_oldest(db: Database) -> None:
    """However much there is, each sweep takes so much, and what has waited longest comes first."""
    now = clock.now()
    await db.execute("DELETE FROM certificates")
    ids = [await _version(db, f"k{n}", "former", now=now, expires=n * DAY, retired=(20 - n) * DAY) for n in range(1, 6)]
    for expected in ({ids[0], ids[1]}, {ids[2], ids[3]}):
        assert await retention_store.destroy_keys(db, KEPT, now, limit=2) == 2
        rows = await db.all("SELECT id FROM certificates WHERE sealed_key = '' AND id LIKE 'crt_k%%'")
        assert expected <= {row["id"] for row in rows}


async def test_what_cannot_be_removed_does_not_starve_the_rest(db: Database) -> None:
    """A zone that is down for weeks keeps nobody else's records published."""
    now = clock.now()
    await db.execute("DELETE FROM challenges")
    for number in range(5):
        await _published(db, f"iss_{number}", created=now - (10 - number) * DAY)
    seen = []
    for turn in range(3):
        found = await retention_store.left_behind(db, before=now, limit=2)
        await retention_store.note_looked(db, found, now + timedelta(seconds=turn))
        seen.append(list(found))

    assert seen == [["iss_0", "iss_1"], ["iss_2", "iss_3"], ["iss_4", "iss_0"]]


async def test_a_version_is_retired_by_the_next_one_and_not_before(desk: Desk) -> None:
    """What visitors get keeps its key; from a renewal on the time of the former one runs, and then its key is gone."""
    domain, database = fresh_name(), desk.places.db
    await desk.ask(domain)
    await desk.ends(domain)
    [first] = await database.all("SELECT * FROM certificates WHERE domain = %s", domain)
    await desk.renew(domain)
    await desk.ends(domain)
    [former, served] = await database.all("SELECT * FROM certificates WHERE domain = %s ORDER BY version", domain)
    await database.execute(
        "UPDATE certificates SET retired_at = retired_at - INTERVAL 8 DAY WHERE id = %s", former["id"]
    )

    async def destroyed() -> bool:
        row = await database.one("SELECT sealed_key FROM certificates WHERE id = %s", former["id"])
        assert row is not None
        return bool(row["sealed_key"] == "")

    assert (first["retired_at"], served["retired_at"]) == (None, None)
    assert former["retired_at"] is not None
    assert await eventually(destroyed, within=20)
    assert (await desk.client.renew_certificate(domain, desk.act(force=True))).version is not None
    await desk.rests(domain)


async def test_a_gateway_that_is_down_keeps_no_record_published(desk: Desk) -> None:
    """What a dead issuance left in DNS is removed, whatever else cannot be mended meanwhile."""
    domain, issuance = fresh_name(), f"iss_{secrets.token_hex(6)}"
    record = f"_acme-challenge.{domain}"
    await desk.stack.gateway.child.kill()
    try:
        await desk.publisher.publish(record, "left-over")
        await _published(desk.places.db, issuance, created=clock.now() - DAY, name=record, place=f"{record} {ZONE}")
        await eventually(lambda: _removed(desk.places.db, issuance), within=20)
    finally:
        await desk.stack.gateway.start_alone()


async def _removed(db: Database, issuance: str) -> bool:
    row = await db.one("SELECT removed_at FROM challenges WHERE issuance_id = %s", issuance)
    assert row is not None
    return row["removed_at"] is not None


async def _published(
    db: Database,
    issuance: str,
    *,
    created: datetime,
    removed: datetime | None = None,
    name: str = "name",
    place: str = "",
) -> None:
    await db.execute(
        "INSERT INTO challenges (issuance_id, type, name, value, identifier, place, created_at, removed_at) "
        "VALUES (%s, %s, %s, 'left-over', 'd', %s, %s, %s)",
        *(issuance, ChallengeType.DNS_01.value, name, place, created, removed),
    )
