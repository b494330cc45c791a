"""Live changes as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from lifecycle.dev.stack import Stack
from lifecycle.models import Role
from tests.support.api import Api
from tests.support.inside import key_of


async def test_i_hear_of_what_happens_in_my_workspace_only(stack: Stack, api: Api, slug: str) -> None:
    """Each new line of the audit log comes within moments; what others do does not."""
    token = await key_of(stack, workspace=slug, person="mallory@example.com", role=Role.ADMINISTRATOR)
    async with api.with_key(token) as other, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(f"{api.url}/v1/events", headers=headers) as stream, asyncio.timeout(20):
            events = _events(stream)
            clock, _ = await anext(events)
            await api.project(f"{slug}-mine")
            theirs = await other.project(f"{slug}-theirs")
            name, data = await anext(events)

    assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert clock == "clock"
    assert (name, data["action"], data["project"]) == ("change", "project.created", theirs)


async def test_events_need_a_key(api: Api) -> None:
    """Nobody listens without one."""
    async with api.with_key(None) as nobody:
        assert (await nobody.get("/v1/events")).status == 401


async def _events(stream: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Name and data of each event."""
    name = ""
    async for line in stream.content:
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value) if name == "change" else value
