"""A project with deployments, as its owner sees it: the API to change it, and the gateway to visit it."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from lifecycle.dev.stack import APEX, WORKSPACE, Stack
from tests.support.api import Answer, Api
from tests.support.waiting import eventually

APP = Path(__file__).parent / "apps" / "web.py"
Shown = Mapping[str, Any]


class Visit(NamedTuple):
    """What a visitor got. `instance` says who answered; empty for the gateway itself."""

    status: int
    text: str
    instance: str


def app(version: str, *mode: str) -> list[str]:
    """The command of a deployment that answers with this version."""
    return [sys.executable, str(APP), version, *mode]


async def visit(stack: Stack, host: str, path: str = "/", *, method: str = "GET") -> Visit:
    """One request to the gateway, by somebody who was never here before."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.request(method, f"{stack.gateway.url}{path}", headers={"Host": host}) as answer,
    ):
        return Visit(answer.status, await answer.text(), answer.headers.get("X-Instance", ""))


class Shop:
    """One project.

    Attributes:
        host: its live domain.
    """

    def __init__(self, stack: Stack, api: Api, project: str, slug: str) -> None:
        self.stack = stack
        self.api = api
        self.id = project
        self.slug = slug
        self.host = self.hostname()

    @classmethod
    async def opened(cls, stack: Stack, api: Api, slug: str) -> "Shop":
        """A new project."""
        return cls(stack, api, await api.project(slug), slug)

    def hostname(self, *words: str) -> str:
        """The generated domain with these words in the middle."""
        return f"{'-'.join((self.slug, *words, WORKSPACE))}.{APEX}"

    async def ask(self, version: str, *mode: str, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
        """Ask for a deployment."""
        asked = {"environment": "production", "command": app(version, *mode), **body}
        return await self.api.post(f"/v1/projects/{self.id}/deployments", asked, headers=headers)

    async def begin(self, version: str, *mode: str, **body: Any) -> str:
        """Begin a deployment; gives its id."""
        answer = await self.ask(version, *mode, **body)
        assert answer.status == 202, answer
        deployment: str = answer.body["id"]
        return deployment

    async def deploy(self, version: str, *mode: str, **body: Any) -> str:
        """Deploy, and wait until it is ready; gives its id."""
        deployment = await self.begin(version, *mode, **body)
        await self.until(deployment, "ready")
        return deployment

    async def act(self, deployment: str, verb: str) -> Answer:
        """Cancel, promote, rollback, stop or wake."""
        return await self.api.post(f"/v1/deployments/{deployment}/{verb}")

    async def done(self, deployment: str, verb: str) -> None:
        """The same, when it must be accepted."""
        answer = await self.act(deployment, verb)
        assert answer.status == 202, answer

    async def show(self, deployment: str) -> Shown:
        """The deployment."""
        answer = await self.api.get(f"/v1/deployments/{deployment}")
        assert answer.status == 200, answer
        shown: Shown = answer.body
        return shown

    async def until(self, deployment: str, status: str, *, within: float = 25) -> Shown:
        """The deployment, once it has this status."""

        async def there() -> Shown:
            shown = await self.show(deployment)
            assert shown["status"] == status, (shown["status"], shown["message"], shown["steps"])
            return shown

        return await eventually(there, within=within)

    async def until_step(self, deployment: str, step: str, *, within: float = 20) -> Shown:
        """The step, once it has begun."""

        async def begun() -> Shown | None:
            steps = (await self.show(deployment))["steps"]
            return next((one for one in steps if one["name"] == step), None)

        return await eventually(begun, within=within)

    async def visit(self, path: str = "/", *, host: str | None = None, method: str = "GET") -> Visit:
        """A visit to its live domain, or to another one."""
        return await visit(self.stack, host or self.host, path, method=method)

    async def serves(self, text: str, *, host: str | None = None, status: int = 200, within: float = 15) -> Visit:
        """The visit that was answered like this at last; a part of the text is enough."""

        async def served() -> Visit:
            seen = await self.visit(host=host)
            assert seen.status == status, seen
            assert text in seen.text, seen
            return seen

        return await eventually(served, within=within)


@asynccontextmanager
async def client(stack: Stack) -> AsyncIterator[Api]:
    """The API of a stack, with the key of its administrator."""
    async with Api(stack.api_url, (stack.root / "api-key").read_text().strip()) as found:
        yield found
