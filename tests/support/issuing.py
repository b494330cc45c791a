"""Certificates as their owner sees them through the API."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from lifecycle.dev import ports
from lifecycle.dev.servers import Own
from lifecycle.dev.stack import Stack
from tests.support.api import Answer, Api
from tests.support.waiting import eventually

Shown = Mapping[str, Any]


async def issued(api: Api, domain: str, *, within: float = 20, **body: Any) -> Shown:
    """A certificate that is in use, after it was asked for."""
    asked = await api.post(f"/v1/certificates/{domain}/issue", {"challenge": "http-01", **body})
    assert asked.status == 202, asked
    return await until(api, domain, "active", within=within)


async def until(api: Api, domain: str, status: str, *, within: float = 20) -> Shown:
    """The certificate as soon as it stands so."""

    async def there() -> Shown:
        found = await show(api, domain)
        assert found["status"] == status, found
        return found

    return await eventually(there, within=within)


async def show(api: Api, domain: str) -> Shown:
    """The certificate of a domain."""
    answer = await api.get(f"/v1/certificates/{domain}")
    assert answer.status == 200, answer
    shown: Shown = answer.body
    return shown


def is_refused(answer: Answer, status: int, code: str) -> bool:
    """Whether an answer is this refusal, whole."""
    assert (answer.status, answer.body.get("code")) == (status, code), answer
    assert answer.body["detail"]
    assert answer.body["hint"]
    return True


@asynccontextmanager
async def another_api(stack: Stack, settings: Mapping[str, str]) -> AsyncIterator[str]:
    """The URL of a second API on the same servers, with other settings."""
    port = ports.assign(("certificates",), remembered=stack.root / "further-ports.json", given={})["certificates"]
    url = f"http://127.0.0.1:{port}"
    environment = {**stack.environment, "LIFECYCLE_API_PORT": str(port), **settings}
    api = Own("api", url=url, health="/healthz", environment=environment, log=stack.root / "logs" / "further-api.log")
    try:
        await api.start()
        yield url
    finally:
        await api.child.stop()
