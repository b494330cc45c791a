"""Orders that nobody goes on with: given up at the CA, and without a key in the database, whoever dies meanwhile."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from lifecycle import clock, ids
from lifecycle.certs.model import Certificate
from lifecycle.scheduler.model import CreateProject, Impact, ScheduleDeletion
from tests.support.acme_wire import Resource, Said
from tests.support.issuer import Desk, fresh_name
from tests.support.waiting import eventually

# Longer than an issuance waits by itself: it ends, and its order stays open.
_BUSY = Said(503, {"Retry-After": "600"}, b"")


async def _waiting(desk: Desk, domain: str, *names: str, project: str | None = None) -> Certificate:
    """A certificate whose first issuance waits for its CA, with an order that is open there."""
    desk.wire().answer(Resource.CHALLENGE, _BUSY)
    await desk.ask(domain, *names, project=project)
    await eventually(lambda: desk.wire().is_calm, within=10)
    found = await desk.rests(domain)
    assert found.running is not None, found
    row = await _order(desk, found.running.issuance)
    assert (row["ended_at"], bool(row["sealed_key"]), bool(row["url"])) == (None, True, True)
    return found


async def _order(desk: Desk, issuance: str) -> Mapping[str, Any]:
    row = await desk.places.db.one("SELECT * FROM acme_orders WHERE issuance_id = %s", issuance)
    assert row is not None
    return row


async def _given_up(desk: Desk, issuance: str) -> bool:
    """The order is over and has no key; and the CA was told, once for each name that was not proved."""
    row = await _order(desk, issuance)
    assert row["ended_at"] is not None, row
    assert row["sealed_key"] == ""
    return True


def _deactivated(desk: Desk) -> int:
    return sum(one.payload.get("status") == "deactivated" for one in desk.wire().came(Resource.AUTHORIZATION))


async def test_a_cancelled_request_leaves_no_order_at_the_ca(desk: Desk) -> None:
    """I cancel what waits for the CA: the order is given up there, so that it counts for no limit of mine."""
    domain = fresh_name()
    left = (await _waiting(desk, domain)).running
    assert left is not None
    await desk.client.cancel_renewal(domain, desk.act())
    await eventually(lambda: _given_up(desk, left.issuance), within=20)

    assert _deactivated(desk) == 1


async def test_other_names_take_the_place_of_an_order_and_leave_none_behind(desk: Desk) -> None:
    """I ask for more names while the CA makes us wait: the former order is given up, the new certificate comes."""
    domain, other = fresh_name(), fresh_name()
    left = (await _waiting(desk, domain)).running
    assert left is not None
    await desk.ask(domain, other)
    await eventually(lambda: _given_up(desk, left.issuance), within=20)
    await desk.rests(domain)
    rows = await desk.places.db.all("SELECT status FROM acme_orders WHERE domain = %s ORDER BY created_at", domain)

    assert _deactivated(desk) == 1
    assert [row["status"] for row in rows] == ["invalid", "valid"]
    assert (await desk.show(domain)).last_error == ""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_worker_that_dies_while_it_gives_an_order_up(desk: Desk, when: str) -> None:
    """Wherever the worker is killed: the order is given up, and nothing else is touched."""
    domain = fresh_name()
    left = (await _waiting(desk, domain)).running
    assert left is not None
    with desk.points.death_at("Abandonment/abandon/abandon", when):
        await desk.client.cancel_renewal(domain, desk.act())
        await eventually(desk.points.has_died, within=20)
        await eventually(lambda: _given_up(desk, left.issuance), within=30)

    assert _deactivated(desk) == 1


async def test_a_deleted_project_leaves_no_order_at_the_ca(desk: Desk) -> None:
    """The rows go with the project, so the order is given up before they do."""
    slug, domain = f"t-{secrets.token_hex(6)}", fresh_name()
    create = CreateProject(actor=desk.actor, now=clock.now(), slug=slug, name="Test")
    project = await desk.client.create_project(ids.new("prj"), create)
    await _waiting(desk, domain, project=project.id)
    second = timedelta(seconds=1).total_seconds()
    delete = ScheduleDeletion(
        actor=desk.actor, now=clock.now(), confirm=slug, reason="test", grace_seconds=second, impact=Impact()
    )
    await desk.client.schedule_deletion(project.id, delete)

    async def gone() -> bool:
        rows = await desk.places.db.all("SELECT 1 AS one FROM acme_orders WHERE project_id = %s", project.id)
        assert rows == []
        return True

    await eventually(gone, within=30)
    assert _deactivated(desk) >= 1


async def test_what_reaches_no_visitor_three_times_is_told_and_ordered_anew(desk: Desk) -> None:
    """A certificate that cannot be delivered is in the audit log, once, with what is wrong; another one is tried."""
    domain = fresh_name()
    await desk.ask(domain)
    await desk.ends(domain)
    with desk.points.another_certificate():
        for _ in range(3):
            await desk.renew(domain)
            held = await desk.rests(domain)
        assert held.running is None
        told = await eventually(lambda: _undeliverable(desk, domain), within=20)
    rows = await desk.places.db.all("SELECT * FROM certificates WHERE domain = %s ORDER BY version", domain)

    assert "another certificate" in told["detail"]
    assert [(row["status"], row["retired_at"] is None) for row in rows] == [("served", True), ("stored", False)]
    await desk.renew(domain)
    renewed = await desk.rests(domain)
    assert renewed.version is not None
    assert (renewed.version.number, renewed.last_error) == (3, "")
    assert await _undeliverable(desk, domain)


async def _undeliverable(desk: Desk, domain: str) -> Mapping[str, Any]:
    rows = await desk.places.db.all(
        "SELECT * FROM audit_log WHERE action = 'certificate.undeliverable' AND detail LIKE %s", f'%"{domain}"%'
    )
    assert len(rows) == 1, rows
    return rows[0]
