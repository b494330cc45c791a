"""What is stored, as metrics show it: with a real database."""

import secrets
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from lifecycle import clock, ids
from lifecycle.certs.authorities import Authorities, Limit
from lifecycle.certs.configuration import Authority, Certificates
from lifecycle.certs.names import Identifier
from lifecycle.db import Database
from lifecycle.ledger import store as ledger_store
from lifecycle.ledger.entry import ActionRow, ActionState, Entry
from lifecycle.observability import state
from tests.support.workbench import Workbench

PROMISED = timedelta(seconds=5)


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


async def test_an_overdue_action_is_seen_until_it_is_over(bench: Workbench) -> None:
    """What only waits after its due time is an alarm; what is blocked, has begun or is in time is none."""
    db, now, subject = bench.resources.db, clock.now(), ids.new("dep")

    async def shown() -> tuple[float, float, float]:
        registry = CollectorRegistry()
        await state.actions(db, registry, overdue_after=PROMISED, now=now)
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
