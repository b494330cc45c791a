"""Clients whose every request and answer goes into a history."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from lifecycle import clock
from tests.support.api import Answer, Api
from tests.support.history import Event, Kind

_FAULT = 500


class Client:
    """One person at the API. Several clients may write into one history.

    Args:
        api: where to ask.
        history: appended to; requests of all clients are numbered through it.
    """

    def __init__(self, api: Api, history: list[Event]) -> None:
        self._api = api
        self._history = history

    async def schedule(self, project: str, slug: str, grace_seconds: float) -> Event:
        """Schedule the deletion of a project."""
        return await self._ask("schedule", project, lambda: self._api.schedule(project, slug, f"{grace_seconds:.3f}s"))

    async def cancel(self, project: str) -> Event:
        """Cancel the deletion of a project."""
        return await self._ask("cancel", project, lambda: self._api.delete(f"/v1/projects/{project}/deletion"))

    async def move(self, project: str, grace_seconds: float) -> Event:
        """Give the deletion of a project another due time."""
        body = {"grace": f"{grace_seconds:.3f}s"}
        return await self._ask("move", project, lambda: self._api.patch(f"/v1/projects/{project}/deletion", body))

    async def show(self, project: str) -> Event:
        """Read the deletion of a project."""
        return await self._ask("show", project, lambda: self._api.get(f"/v1/projects/{project}/deletion"))

    async def _ask(self, verb: str, project: str, request: Callable[[], Awaitable[Answer]]) -> Event:
        call = len(self._history)
        self._history.append(Event(call, Kind.INVOKE, clock.now(), verb, project))
        answer: Mapping[str, Any] = {}
        try:
            status, answer, _ = await request()
        except (TimeoutError, aiohttp.ClientError):
            kind = Kind.UNKNOWN
        else:
            kind = Kind.UNKNOWN if status >= _FAULT else Kind.OK if status < 400 else Kind.FAIL
        event = Event(call, kind, clock.now(), verb, project, answer)
        self._history.append(event)
        return event
