"""The day on which a CA has to revoke: everything is replaced at once, and nobody is left without a certificate."""

import asyncio
import time
from collections import Counter
from datetime import timedelta

import pytest

from lifecycle import clock
from lifecycle.db import Row
from tests.support.certified import Site, is_found
from tests.support.handshakes import visitor, visits
from tests.support.newer_pebble import needed
from tests.support.waiting import eventually

_EXPLANATION = "https://ca.example/incident"
_VISITORS = 2


async def test_certificates_that_a_ca_is_about_to_revoke_are_replaced_at_once(site: Site, slug: str) -> None:
    """The CA moves many renewal windows into the past; one call, and all are replaced while visitors come and go."""
    await _drill(site, slug, 20)


@pytest.mark.chaos
async def test_two_hundred_are_replaced_at_once(swift_site: Site, slug: str) -> None:
    """The same with 200 of them; the time that it takes is printed."""
    await _drill(swift_site, slug, 200)


async def _drill(site: Site, slug: str, count: int) -> None:
    needed()
    domains = [f"n{number}.{slug}.example.test" for number in range(count)]
    rows = await _issued(site, slug, domains)
    await _check_spread(site, domains)

    now = clock.now()
    for row in rows:
        window = now - timedelta(hours=1), now - timedelta(minutes=30)
        await site.set_window(row, *window, explanation=_EXPLANATION)
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        visiting = [
            group.create_task(visits(site.port, domains, visitor(site.trust), until=ended.is_set, pause_seconds=0.05))
            for _ in range(_VISITORS)
        ]
        try:
            begun = time.monotonic()
            asked = await site.api.post("/v1/certificates:check", {"domains": domains})
            assert {one["outcome"] for one in asked.body["items"]} == {"accepted"}, asked
            progress = await _replaced(site, slug, domains)
            seconds = time.monotonic() - begun
        finally:
            ended.set()
    seen = [one for task in visiting for one in task.result()]

    print(f"{count} certificates were replaced in {seconds:.1f} s; {len(seen)} visits")  # noqa: T201  the figure
    assert [one for one in seen if one.failure] == []
    assert any(one["renewing"] > 0 and 0 < one["active"] < count for one in progress), progress
    await _check_replacements(site, rows)


async def _issued(site: Site, slug: str, domains: list[str]) -> list[Row]:
    requests = [{"domain": domain, "challenge": "http-01", "profile": "classic"} for domain in domains]
    asked = await site.api.post("/v1/certificates:issue", {"requests": requests})
    assert {one["outcome"] for one in asked.body["items"]} == {"accepted"}, asked

    async def all_served() -> list[Row]:
        rows = await site.all(
            "SELECT c.*, d.status AS stands, d.last_error FROM certificate_domains d LEFT JOIN certificates c "
            "ON c.domain = d.domain AND c.status = 'served' WHERE d.domain LIKE %s",
            f"%.{slug}.example.test",
        )
        assert Counter(row["stands"] for row in rows) == {"active": len(domains)}, {row["last_error"] for row in rows}
        return list(rows)

    return await eventually(all_served, within=30 + len(domains))


async def _check_spread(site: Site, domains: list[str]) -> None:
    """Issued together, they are not renewed together: one after the other, in the order of the request."""
    shown = [await site.show(domain) for domain in domains[:20]]
    due = [one["next_renewal_at"] for one in shown]
    assert due == sorted(due)
    assert len(set(due)) == len(due)
    assert {one["renewal_reason"]["source"] for one in shown[:10]} == {"spread"}


async def _replaced(site: Site, slug: str, domains: list[str]) -> list[Counter[str]]:
    """Look at the list, as people do, until all are replaced; how many stood how at each look."""
    progress: list[Counter[str]] = []

    async def done() -> bool:
        shown = []
        cursor = None
        while True:
            more = f"&cursor={cursor}" if cursor else ""
            page = await site.api.get(f"/v1/certificates?limit=200{more}")
            assert page.status == 200, page
            shown += [one for one in page.body["items"] if one["domain"].endswith(f".{slug}.example.test")]
            cursor = page.body["next_cursor"]
            if cursor is None:
                break
        progress.append(Counter(one["status"] for one in shown))
        new = [one for one in shown if one["status"] == "active" and one["versions"][0]["number"] == 2]
        return len(new) == len(domains)

    await eventually(done, within=60 + len(domains))
    return progress


async def _check_replacements(site: Site, rows: list[Row]) -> None:
    """Each order said which certificate it replaces, and people can read why."""
    for row in rows:
        order = await site.one(
            "SELECT o.url, c.cause FROM acme_orders o JOIN certificates c ON c.issuance_id = o.issuance_id "
            "WHERE c.domain = %s AND c.version = 2",
            row["domain"],
        )
        assert order["cause"] == "window"
        replaces = (await site.order(order["url"])).replaces
        assert replaces == (row["certificate_id"] if is_found(row["certificate_id"]) else None)
    noted = await site.all(
        "SELECT detail FROM audit_log WHERE action = 'certificate.renewal_scheduled' AND detail LIKE %s",
        f"%{rows[0]['domain']}%",
    )
    assert any(_EXPLANATION in str(one["detail"]) for one in noted), noted
