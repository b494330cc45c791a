"""What is stored, as metrics show it: with a real database."""

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from lifecycle import clock, ids, resources
from lifecycle.certs.authorities import Authorities, Limit
from lifecycle.certs.configuration import Authority, Certificates
from lifecycle.certs.names import Identifier
from lifecycle.db import Database
from lifecycle.deploy.gateway import Gateway
from lifecycle.ledger import store as ledger_store
from lifecycle.ledger.entry import ActionRow, ActionState, Entry
from lifecycle.notifications import store as notifications_store
from lifecycle.notifications.model import Channel
from lifecycle.observability import state
from tests.support.workbench import Workbench

PROMISED = timedelta(seconds=5)
DAY = timedelta(days=1)


async def put(db: Database, subject: str, sequence: int, due_at: datetime, standing: ActionState) -> None:
    """Write an action into the list."""
    row = ActionRow(
        kind="standby-stop",
        subject=subject,
        label="old",
        state=standing,
        due_at=due_at,
        generation=1,
        reason="",
        requested_by="",
    )
    entry = Entry(
        id=f"{subject}.{sequence}",
        sequence=sequence,
        workspace="ws_metrics",
        action="test",
        at=due_at,
        pending_action=row,
    )
    await db.transaction(lambda connection: ledger_store.record(connection, [entry]))


@asynccontextmanager
async def unread(bench: Workbench) -> AsyncIterator[Database]:
    """Connections of a process of which nobody has read metrics yet."""
    db = resources.database(bench.stack.settings())
    try:
        yield db
    finally:
        await db.close()


async def served(db: Database, *, expires: datetime, renewal: datetime | None, status: str = "active") -> str:
    """A certificate that visitors get; gives its domain."""
    domain, now = f"{secrets.token_hex(6)}.example.com", clock.now()
    await db.execute(
        "INSERT INTO certificate_domains (domain, workspace_id, names, challenge, status, next_renewal_at, last_error, "
        "updated_at) VALUES (%s, 'ws_metrics', '[]', 'http-01', %s, %s, '', %s)",
        *(domain, status, renewal, now),
    )
    await db.execute(
        "INSERT INTO certificates (id, domain, version, workspace_id, issuance_id, ca, names, status, serial, issuer, "
        "not_before, not_after, cause, chain, sealed_key, key_digest, created_at) VALUES (%s, %s, 1, 'ws_metrics', %s, "
        "'ca', '[]', 'served', '1', 'CN=CA', %s, %s, 'renewal', 'pem', 'sealed', '', %s)",
        *(ids.new("crt"), domain, ids.new("iss"), now - 90 * DAY, expires, now),
    )
    return domain


async def test_an_overdue_action_is_seen_until_it_is_over(bench: Workbench) -> None:
    """What only waits after its due time is an alarm; what is blocked, has begun or is in time is none."""
    db, now, subject = bench.resources.db, clock.now(), ids.new("dep")

    async def shown() -> tuple[float, float, float]:
        registry = CollectorRegistry()
        async with unread(bench) as fresh:
            await state.actions(fresh, registry, overdue_after=PROMISED, now=now)
        kind = {"kind": "standby-stop"}
        values = (
            registry.get_sample_value("lifecycle_actions_overdue", kind),
            registry.get_sample_value("lifecycle_actions_overdue_seconds", kind),
            registry.get_sample_value("lifecycle_actions", {**kind, "state": "blocked"}),
        )
        overdue, seconds, blocked = (value if value is not None else -1 for value in values)
        return overdue, seconds, blocked

    before = await shown()
    await put(db, subject, 1, now - timedelta(seconds=4), ActionState.PENDING)
    in_time = await shown()
    await put(db, subject, 2, now - timedelta(seconds=90), ActionState.PENDING)
    late = await shown()
    await put(db, subject, 3, now - timedelta(seconds=90), ActionState.BLOCKED)
    blocked = await shown()
    await put(db, subject, 4, now - timedelta(seconds=90), ActionState.CANCELLED)
    after = await shown()

    assert before == in_time == after == (0, 0, 0)
    assert (late[0], late[2]) == (1, 0)
    assert late[1] == pytest.approx(90)
    assert blocked == (0, 0, 1)


async def test_mail_that_does_not_get_out_is_seen(bench: Workbench) -> None:
    """A mail server that refuses everything shows in the monitoring, for it cannot be told of by mail."""

    async def counted(db: Database) -> tuple[float | None, float | None]:
        registry = CollectorRegistry()
        await state.deliveries(db, registry)
        names = ("lifecycle_deliveries_waiting", "lifecycle_deliveries_failing")
        waiting, failing = (registry.get_sample_value(name, {"channel": "mail"}) for name in names)
        return waiting, failing

    now = clock.now()
    entry = Entry(id=ids.new("evt"), sequence=1, workspace="ws_metrics", action="deletion.reminder", at=now)
    one = notifications_store.new(entry, Channel.MAIL, "ada@example.com", body="{}", now=now)
    async with unread(bench) as db:
        before = await counted(db)
    async with unread(bench) as db:
        await db.transaction(lambda connection: notifications_store.insert(connection, one))
        fresh = await counted(db)
    async with unread(bench) as db:
        await db.execute("UPDATE deliveries SET failures = 3 WHERE id = %s", one.id)
        failed = await counted(db)
        plan = await db.one(
            "EXPLAIN SELECT channel, COUNT(*) AS n, SUM(failures > 0) AS failing FROM deliveries "
            "WHERE next_attempt_at IS NOT NULL GROUP BY channel"
        )
        await db.execute("DELETE FROM deliveries WHERE id = %s", one.id)

    assert (before, fresh, failed) == ((0, 0), (1, 0), (1, 1))
    assert plan is not None
    assert (plan["key"], "Using index" in plan["Extra"]) == ("deliveries_due", True)


async def test_however_often_somebody_asks_the_list_of_actions_is_counted_once_in_five_seconds(
    bench: Workbench,
) -> None:
    """A monitoring that asks every API again and again costs the database no more than one that asks seldom."""
    subject, labels = ids.new("dep"), {"kind": "standby-stop", "state": "blocked"}

    async def counted(db: Database) -> float | None:
        registry = CollectorRegistry()
        await state.actions(db, registry, overdue_after=PROMISED, now=clock.now())
        return registry.get_sample_value("lifecycle_actions", labels)

    async with unread(bench) as db, unread(bench) as another:
        before = await counted(db)
        await put(db, subject, 1, clock.now() + DAY, ActionState.BLOCKED)
        again, elsewhere = await counted(db), await counted(another)
        plan = await db.one(
            "EXPLAIN SELECT kind, state, COUNT(*) AS n FROM pending_actions WHERE is_open = 1 GROUP BY kind, state"
        )
        await put(db, subject, 2, clock.now() + DAY, ActionState.CANCELLED)

    assert (before, again, elsewhere) == (0, 0, 1)
    assert plan is not None
    assert (plan["key"], "Using index" in plan["Extra"]) == ("actions_by_kind", True)


async def test_a_certificate_that_nobody_renews_hides_none_that_must_be_renewed(bench: Workbench) -> None:
    """Who cancels a renewal is told of the end apart from what pages, and not for ever; a removed one is nobody's."""
    db, now = bench.resources.db, clock.now()
    ended = await served(db, expires=now - 30 * DAY, renewal=None)
    cancelled = await served(db, expires=now - DAY, renewal=None)
    removed = await served(db, expires=now - DAY, renewal=None, status="removed")
    planned = await served(db, expires=now + DAY, renewal=now)
    renewing = await served(db, expires=now + 2 * DAY, renewal=None, status="renewing")
    public, private = CollectorRegistry(), CollectorRegistry()
    try:
        await state.certificates(db, public, now=now)
        await state.expiries(db, private, now=now)
    finally:
        await db.execute("DELETE FROM certificates WHERE workspace_id = 'ws_metrics'")
        await db.execute("DELETE FROM certificate_domains WHERE workspace_id = 'ws_metrics'")

    def first(renewal: str) -> float | None:
        name = "lifecycle_certificates_first_expiry_timestamp_seconds"
        return public.get_sample_value(name, {"renewal": renewal})

    def shown(domain: str) -> list[str]:
        name = "lifecycle_certificate_expiry_timestamp_seconds"
        return [
            one
            for one in ("planned", "none")
            if private.get_sample_value(name, {"domain": domain, "renewal": one}) is not None
        ]

    assert first("planned") == pytest.approx((now + DAY).timestamp(), abs=0.001)
    assert first("none") == pytest.approx((now - DAY).timestamp(), abs=0.001)
    assert [shown(one) for one in (ended, cancelled, removed, planned, renewing)] == [
        *([], ["none"], []),
        *(["planned"], ["planned"]),
    ]
    assert public.get_sample_value("lifecycle_certificates", {"status": "removed"}) is None
    assert public.get_sample_value("lifecycle_certificates", {"status": "failed"}) is not None


async def test_without_the_database_the_gateway_is_asked_all_the_same(bench: Workbench) -> None:
    """An outage of the database is not told as one of the gateway, and hides none."""
    available = bench.resources
    assert available.gateway is not None
    nobody = Database("mysql://lifecycle:x@127.0.0.1:1/lifecycle", size=1, deadline=timedelta(seconds=1))
    root = Path(tempfile.mkdtemp(prefix="lifecycle-nogw-"))
    absent = Gateway(root)
    registries = CollectorRegistry(), CollectorRegistry()
    try:
        for gateway, registry in zip((available.gateway, absent), registries, strict=True):
            await state.of_worker(nobody, available.authorities, gateway, registry, now=clock.now())
    finally:
        await absent.close()
        shutil.rmtree(root)

    assert [one.get_sample_value("lifecycle_gateway_up") for one in registries] == [1, 0]
    assert [one.get_sample_value("lifecycle_up", {"part": "database"}) for one in registries] == [0, 0]
    assert [one.get_sample_value("lifecycle_gateway_generation_lag") for one in registries] == [None, None]


async def test_a_database_without_our_tables_hides_neither_the_gateway_nor_the_page(bench: Workbench) -> None:
    """What nobody has foreseen is told as an outage of its part; the page of the worker is given all the same."""
    available, registry = bench.resources, CollectorRegistry()
    settings = bench.stack.settings()
    url = urlsplit(settings.database_url.get_secret_value())._replace(path="/information_schema")
    empty = resources.database(settings.model_copy(update={"database_url": SecretStr(urlunsplit(url))}))
    try:
        await state.of_worker(empty, available.authorities, available.gateway, registry, now=clock.now())
    finally:
        await empty.close()

    assert registry.get_sample_value("lifecycle_gateway_up") == 1
    assert registry.get_sample_value("lifecycle_up", {"part": "database"}) == 0
    assert registry.get_sample_value("lifecycle_gateway_generation_lag") is None


async def test_the_emptiest_bucket_of_a_limit_is_shown(bench: Workbench) -> None:
    """Monitoring sees how near the tightest limit of a certificate authority is, and what it holds back."""
    ca = f"t-{secrets.token_hex(6)}"
    authority = Authority(name=ca, directory_url="https://ca.invalid/directory", limits="letsencrypt")
    authorities = Authorities(Certificates(authority=(authority,)), bench.resources.db, bench.resources.vault)
    try:
        await authorities.spend_order(ca, "iss_1", (Identifier(value="a.example.com"),))
        for number, name in enumerate(["a.example.com", "a.example.com", "b.example.com"]):
            await authorities.spend_certificate(ca, f"iss_{number}", (Identifier(value=name),))
        await authorities.block(ca, Limit.REQUESTS, "", clock.now() + timedelta(hours=1))
        registry = CollectorRegistry()
        await state.rate_limits(authorities, registry)
    finally:
        authorities.close()

    def value(name: str, limit: Limit) -> float | None:
        return registry.get_sample_value(f"lifecycle_rate_limit_{name}", {"authority": ca, "limit": limit.value})

    assert (value("left", Limit.NEW_ORDERS), value("capacity", Limit.NEW_ORDERS)) == (299, 300)
    assert (value("left", Limit.EXACT_SET), value("capacity", Limit.EXACT_SET)) == (3, 5)
    assert (value("left", Limit.REGISTERED_DOMAIN), value("capacity", Limit.REGISTERED_DOMAIN)) == (47, 50)
    assert (value("blocked", Limit.REQUESTS), value("blocked", Limit.NEW_ORDERS)) == (1, 0)
    assert "example.com" not in str([family.samples for family in registry.collect()])
