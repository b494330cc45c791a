"""Live changes as server-sent events."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from lifecycle.api.events import STREAMS_OF_A_KEY
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
            while name == "change" and data["action"] == "key.created":  # a moment ago, for this test
                name, data = await anext(events)

    assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert clock == "clock"
    assert (name, data["action"], data["project"]) == ("change", "project.created", theirs)


async def test_events_need_a_key(api: Api) -> None:
    """Nobody listens without one."""
    async with api.with_key(None) as nobody:
        assert (await nobody.get("/v1/events")).status == 401


async def test_who_is_let_go_hears_nothing_more(stack: Stack, api: Api, slug: str) -> None:
    """A stream that is open ends with its key, and that of a page with its session, at the next look at the clock."""
    token = await key_of(stack, workspace=slug, person="bob@example.com", role=Role.OPERATOR)
    other = await key_of(stack, workspace=slug, person="ada@example.com", role=Role.ADMINISTRATOR)
    cookies = [await _signed_in(api.url, one) for one in (token, other)]
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(f"{api.url}/v1/events", headers={"Authorization": f"Bearer {token}"}) as by_key,
        session.get(f"{api.url}/events", headers={"Cookie": cookies[0]}) as by_page,
        session.get(f"{api.url}/events", headers={"Cookie": cookies[1]}) as signed_out,
        asyncio.timeout(60),
    ):
        streams = [_events(one) for one in (by_key, by_page, signed_out)]
        clocks = [(await anext(one))[0] for one in streams]
        async with api.with_key(other) as ada:
            found = (await ada.get("/v1/api-keys")).body["items"]
            await ada.delete(f"/v1/api-keys/{next(one['id'] for one in found if one['person'] == 'bob@example.com')}")
        await _sign_out(api.url, cookies[1])
        rest = [[name async for name, _ in one] for one in streams]

    assert clocks == ["clock"] * 3
    assert all("clock" not in names for names in rest), rest


async def test_one_key_has_no_more_streams_than_it_can_need(stack: Stack, api: Api, slug: str) -> None:
    """A program that opens streams and never closes them is told so, and others are not kept from listening."""
    token = await key_of(stack, workspace=slug, person="mallory@example.com", role=Role.VIEWER)
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, contextlib.AsyncExitStack() as opened:
        for _ in range(STREAMS_OF_A_KEY):
            stream = await opened.enter_async_context(session.get(f"{api.url}/v1/events", headers=headers))
            await anext(_events(stream))
        async with api.with_key(token) as greedy:
            refused = await greedy.get("/v1/events")
        others = await opened.enter_async_context(
            session.get(f"{api.url}/v1/events", headers={"Authorization": f"Bearer {api.key}"})
        )

    assert (refused.status, refused.body["code"]) == (429, "too_many_streams")
    assert others.status == 200


async def _signed_in(url: str, key: str) -> str:
    """The cookie of a session."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/sign-in", data={"key": key}, allow_redirects=False) as answer,
    ):
        return "; ".join(f"{one.key}={one.value}" for one in answer.cookies.values())


async def _sign_out(url: str, cookie: str) -> None:
    async with aiohttp.ClientSession(headers={"Cookie": cookie}) as session:
        async with session.get(f"{url}/") as page:
            token = re.search(r'name="form_token" value="([^"]+)"', await page.text())
        assert token is not None
        async with session.post(f"{url}/sign-out", data={"form_token": token[1]}) as answer:
            assert answer.ok


async def _events(stream: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Name and data of each event."""
    name = ""
    async for line in stream.content:
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value) if name == "change" else value
