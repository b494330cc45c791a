"""Certificates that live for seconds are renewed again and again, each when its CA wants it, and nobody notices."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from lifecycle.db import Row
from tests.support.certified import PROFILES, Site, is_found
from tests.support.handshakes import Handshake, visitor, visits
from tests.support.newer_pebble import needed

# Where in the life of each certificate the CA of the tests wants it to be renewed, when it is told to.
_FROM, _TO = 0.3, 0.4
_VISITORS = 3


@pytest.fixture
def ari(site: Site) -> Site:
    """A site whose CA says when it wants certificates to be renewed."""
    needed()
    return site


async def test_renewals_in_a_row(ari: Site, slug: str) -> None:
    """Four renewals of certificates that live for 20 seconds, each within the two seconds that the CA wants.

    Meanwhile visitors come all the time, and each gets a certificate that is valid.
    """
    domain = f"{slug}.example.test"

    windows, seen = await _renewed(ari, domain, profile="brief", renewals=4, steer=True)

    await _check(ari, domain, windows, seen, renewals=4)


@pytest.mark.chaos
async def test_ten_renewals_in_a_row_as_the_ca_wants_them(ari: Site, slug: str) -> None:
    """The same ten times with certificates of a minute, and with the windows that the CA itself chooses."""
    domain = f"{slug}.example.test"

    windows, seen = await _renewed(ari, domain, profile="minute", renewals=10, steer=False)

    await _check(ari, domain, windows, seen, renewals=10)


async def _renewed(
    site: Site, domain: str, *, profile: str, renewals: int, steer: bool
) -> tuple[Mapping[int, tuple[datetime, datetime]], Sequence[Handshake]]:
    """Let a certificate be renewed so often, under the eyes of visitors.

    Args:
        site: where.
        domain: of the certificate.
        profile: of the CA.
        renewals: how many.
        steer: whether the CA is told which window to name for each certificate, instead of its own.

    Returns:
        The window of each version by its number, and what visitors saw.
    """
    await site.issue(domain, "http-01", profile=profile)
    windows: dict[int, tuple[datetime, datetime]] = {}
    ended = asyncio.Event()
    context = visitor(site.trust)
    async with asyncio.TaskGroup() as group:
        visiting = [
            group.create_task(visits(site.port, [domain], context, until=ended.is_set, pause_seconds=0.1))
            for _ in range(_VISITORS)
        ]
        try:
            for number in range(1, renewals + 2):
                row = await _version(site, domain, number, within=PROFILES[profile])
                windows[number] = await _window(site, row, steer=steer)
        finally:
            ended.set()
    return windows, [one for task in visiting for one in task.result()]


async def _version(site: Site, domain: str, number: int, *, within: float) -> Row:
    """A version, once nothing else is done about the certificate."""
    await site.until(
        domain,
        lambda shown: (
            shown["status"] == "active" and bool(shown["versions"]) and shown["versions"][0]["number"] >= number
        ),
        within=within,
    )
    return await site.one("SELECT * FROM certificates WHERE domain = %s AND version = %s", domain, number)


async def _window(site: Site, row: Row, *, steer: bool) -> tuple[datetime, datetime]:
    """When the CA wants this certificate to be renewed."""
    found = await site.renewal_information(row["certificate_id"])
    if not steer:
        return found.start, found.end
    life: timedelta = row["not_after"] - row["not_before"]
    window = row["not_before"] + life * _FROM, row["not_before"] + life * _TO
    await site.suggest(row, *window)
    newest = await site.one("SELECT MAX(version) AS n FROM certificates WHERE domain = %s", row["domain"])
    # By its own window it may have been renewed before the CA was told another.
    return window if newest["n"] == row["version"] else (found.start, found.end)


async def _check(
    site: Site,
    domain: str,
    windows: Mapping[int, tuple[datetime, datetime]],
    seen: Sequence[Handshake],
    *,
    renewals: int,
) -> None:
    rows = await site.all(
        "SELECT c.*, o.created_at AS ordered_at, o.url AS order_url FROM certificates c "
        "JOIN acme_orders o ON o.issuance_id = c.issuance_id WHERE c.domain = %s ORDER BY c.version",
        domain,
    )
    assert [row["version"] for row in rows][: renewals + 1] == list(range(1, renewals + 2))
    for number, (former, row) in enumerate(itertools.pairwise(rows[: renewals + 1])):
        start, end = windows[former["version"]]
        if number:
            # Two in half a life are the budget. Pebble's own window begins with the life, so that a version may have
            # been renewed at once, before the CA was told another window; the next one waits for the budget then.
            budget = rows[number - 1]["created_at"] + (former["not_after"] - former["not_before"]) / 2
            start, end = max(start, budget), max(end, budget + (end - start))
        order = await site.order(row["order_url"])
        assert start <= row["ordered_at"] < end, (row["version"], start, row["ordered_at"], end)
        assert row["created_at"] < former["not_after"]
        assert row["cause"] == "window"
        assert order.replaces == (former["certificate_id"] if is_found(former["certificate_id"]) else None)
        assert row["key_digest"] != former["key_digest"]
    _check_visits(seen, rows)


def _check_visits(seen: Sequence[Handshake], rows: Sequence[Mapping[str, Any]]) -> None:
    """Nobody was turned away, or shown what was expired; each version was seen, and none after its successor."""
    assert [one for one in seen if one.failure] == []
    number = {row["serial"]: row["version"] for row in rows}
    shown = [number[one.serial] for one in sorted(seen, key=lambda one: one.at)]
    assert set(shown) >= set(range(1, max(shown) + 1))
    for one in seen:
        row = next(row for row in rows if row["serial"] == one.serial)
        assert row["not_before"] <= one.at < row["not_after"] + timedelta(seconds=1), one
