"""A small HTTP client for the tests, as a customer's program would write it."""

import io
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
from yarl import URL


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Api:
    """The API at `url`, used with `key`."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self.key = key
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def with_key(self, key: str | None) -> "Api":
        """The same API with another key; close it as well."""
        return Api(self.url, key)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request."""
        sent = dict(headers or {})
        if self.key is not None:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        if raw is not None or body is not None:
            sent.setdefault("Content-Type", "application/json")
        content = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        data = None if content is None else io.BytesIO(content)
        url = URL(self.url + path, encoded=True)
        async with self._session.request(method, url, data=data, headers=sent) as response:
            text = await response.text()
            parsed = json.loads(text) if "json" in response.headers.get("Content-Type", "") and text else text
            return Answer(response.status, parsed, response.headers)

    async def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> Answer:
        """POST."""
        return await self.call("POST", path, body, **options)

    async def put(self, path: str, body: object = None, **options: Any) -> Answer:
        """PUT."""
        return await self.call("PUT", path, body, **options)

    async def patch(self, path: str, body: object = None, **options: Any) -> Answer:
        """PATCH."""
        return await self.call("PATCH", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        """DELETE."""
        return await self.call("DELETE", path, **options)

    async def project(self, slug: str) -> str:
        """The id of a new project."""
        answer = await self.post("/v1/projects", {"slug": slug})
        assert answer.status == 201, answer
        project: str = answer.body["id"]
        return project

    async def schedule(self, project: str, slug: str, grace: str, **more: object) -> Answer:
        """Schedule the deletion of a project."""
        body = {"grace": grace, "reason": "test", "confirm": slug, **more}
        return await self.post(f"/v1/projects/{project}/deletion", body)

    async def deletion(self, project: str) -> dict[str, Any]:
        """The deletion of a project."""
        answer = await self.get(f"/v1/projects/{project}/deletion")
        assert answer.status == 200, answer
        body: dict[str, Any] = answer.body
        return body
