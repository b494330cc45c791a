"""The audit log over HTTP: everything that happened, in the order in which it happened."""

import secrets
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from lifecycle import ids
from lifecycle.dev.stack import Stack
from lifecycle.ledger.entry import Entry
from lifecycle.models import Actor, Role
from tests.support.api import Api
from tests.support.inside import key_of, record, workspace_named

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
# Seconds at which things happened, in the order in which they were written down; some happened in one moment.
WRITTEN = (5, 1, 9, 3, 3, 7, 0, 9, 3)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_the_log_is_read_in_the_order_of_time_however_it_was_written(stack: Stack, limit: int) -> None:
    """Newest first over all pages, nothing twice, nothing left out, also when entries came in another order."""
    name = f"audit-{secrets.token_hex(6)}"
    key = await key_of(stack, workspace=name, person="ada@example.com", role=Role.VIEWER)
    workspace = await workspace_named(stack, name)
    projects = [ids.new("prj"), ids.new("prj")]
    entries = [
        Entry(
            id=f"{name}.{number}",
            sequence=1,
            workspace=workspace,
            project=projects[number % 2],
            action="test",
            at=LONG_AGO + timedelta(seconds=second),
        )
        for number, second in enumerate(WRITTEN)
    ]
    for entry in entries:
        await record(stack, entry)
    async with Api(stack.api_url, key) as api:
        everything = await _read(api, f"/v1/audit?limit={limit}")
        of_one = await _read(api, f"/v1/audit?limit={limit}&project={projects[1]}")

    newest_first = sorted(range(len(WRITTEN)), key=lambda number: (WRITTEN[number], number), reverse=True)
    assert everything[0].endswith(".key.created")
    assert everything[1:] == [f"{name}.{number}" for number in newest_first]
    assert of_one == [f"{name}.{number}" for number in newest_first if number % 2]


async def _read(api: Api, path: str) -> list[str]:
    """The ids of all entries, page by page."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await api.get(f"{path}{cursor}")
        assert page.status == 200, page
        found += [one["id"] for one in page.body["items"]]
        if page.body["next_cursor"] is None:
            return found
        cursor = f"&cursor={page.body['next_cursor']}"


async def test_the_log_is_filtered_by_whatever_is_known(stack: Stack) -> None:
    """Action or family, person, domain and time: each alone and together, with what SQL takes for itself as text."""
    name = f"audit-{secrets.token_hex(6)}"
    key = await key_of(stack, workspace=name, person="ada@example.com", role=Role.VIEWER)
    workspace = await workspace_named(stack, name)
    ada = Actor(workspace=workspace, key="key_1", person="ada@example.com", role=Role.OPERATOR)
    written = [
        ("deletion.scheduled", ada, {}),
        ("deletion.reminded", None, {"domain": "www.example.com"}),
        ("deletions.other", None, {"domain": "example.com"}),
        ("certificate.key_downloaded", ada, {"domain": "www.example.com"}),
        ("certificate.keyxdownloaded", ada, {"domain": "%.example.com"}),
    ]
    for number, (action, actor, detail) in enumerate(written):
        at = LONG_AGO + timedelta(days=number)
        await record(
            stack,
            Entry(
                id=f"{name}.{number}", sequence=1, workspace=workspace, action=action, actor=actor, at=at, detail=detail
            ),
        )
    expected = {
        "action=deletion.scheduled": {0},
        "action=deletion.*": {0, 1},
        "action=certificate.key_downloaded": {3},
        "person=lifecycle&until=2026-06-01T00:00:00Z": {1, 2},
        "person=ada@example.com": {0, 3, 4},
        "person=ADA@example.com": set(),
        "domain=www.example.com": {1, 3},
        "domain=%25.example.com": {4},
        "since=2026-01-02T00:00:00Z&until=2026-01-04T00:00:00Z": {1, 2},
        "since=2026-01-02T00:00:00Z&until=2026-01-05T00:00:00Z&action=certificate.*&person=ada@example.com": {3},
    }
    async with Api(stack.api_url, key) as api:
        found = {query: set(await _read(api, f"/v1/audit?limit=2&{query}")) for query in expected}
        refused = [
            await api.get(f"/v1/audit?{query}") for query in ("action=%25", "since=yesterday", "action=deletion.%25")
        ]

    assert {query: {one for one in ids if ".key." not in one} for query, ids in found.items()} == {
        query: {f"{name}.{number}" for number in numbers} for query, numbers in expected.items()
    }
    assert [one.status for one in refused] == [422] * 3


async def test_an_entry_has_an_address_inside_its_workspace(stack: Stack, api: Api) -> None:
    """What the list shows is found again by its id, and nobody else finds it."""
    name = f"audit-{secrets.token_hex(6)}"
    key = await key_of(stack, workspace=name, person="ada@example.com", role=Role.VIEWER)
    entry = Entry(
        id=f"*.{name}.example.com.c1",
        sequence=1,
        workspace=await workspace_named(stack, name),
        action="test",
        at=LONG_AGO,
        detail={"cancel_url": "https://lifecycle.example.com/cancel/x", "reason": "because"},
    )
    await record(stack, entry)
    async with Api(stack.api_url, key) as theirs:
        found = await theirs.get(f"/v1/audit/{quote(entry.id, safe='')}")
        listed = (await theirs.get("/v1/audit?action=test")).body["items"]
    other = await api.get(f"/v1/audit/{quote(entry.id, safe='')}")

    assert [found.body] == listed
    assert found.body["detail"] == {"reason": "because"}  # cancelling takes an operator
    assert (other.status, other.body["code"]) == (404, "audit_entry_not_found")
