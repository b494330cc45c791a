"""The audit log over HTTP: everything that happened, in the order in which it happened."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle import ids
from lifecycle.dev.stack import Stack
from lifecycle.ledger.entry import Entry
from lifecycle.models import Role
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
