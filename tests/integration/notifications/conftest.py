"""A stack that notifies, a receiver and a mail server, and a worker that may die at any exact point."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import pytest

from lifecycle.dev.stack import Stack
from tests.support import shop, sinks
from tests.support.api import Api
from tests.support.mortal import Points, mortal_stack, quiet
from tests.support.sinks import MailSink, Posted, Receiver
from tests.support.waiting import eventually

SETTINGS = {
    "LIFECYCLE_RECONCILER_INTERVAL": "1s",
    "LIFECYCLE_WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8",
    "LIFECYCLE_WEBHOOK_TIMEOUT": "1s",
    "LIFECYCLE_WEBHOOK_DISABLE_AFTER": "2s",
    "LIFECYCLE_NOTIFICATION_RETRY_FIRST": "100ms",
    "LIFECYCLE_NOTIFICATION_RETRY_SPAN": "4s",
    "LIFECYCLE_NOTIFICATION_WORKSPACE": "dev",
    "LIFECYCLE_MAIL_FROM": "Lifecycle <lifecycle@lifecycle.example>",
}

Shown = Mapping[str, Any]


class Post(NamedTuple):
    """The servers, the points of the worker, the API, and where notifications arrive."""

    stack: Stack
    points: Points
    api: Api
    receiver: Receiver
    mail: MailSink

    async def webhook(self, path: str, *events: str, url: str | None = None) -> Shown:
        """Add a webhook that leads to this path of the receiver."""
        body = {"url": url or self.receiver.url(path), "events": list(events or ("*",))}
        answer = await self.api.post("/v1/webhooks", body)
        assert answer.status == 201, answer
        added: Shown = answer.body
        return added

    async def shown(self, webhook: str) -> Shown:
        """The webhook as it is."""
        answer = await self.api.get(f"/v1/webhooks/{webhook}")
        assert answer.status == 200, answer
        found: Shown = answer.body
        return found

    async def deliveries(self, target: str, **more: str) -> list[Shown]:
        """The deliveries to a target, newest first."""
        query = "&".join(f"{name}={value}" for name, value in {"target": target, **more}.items())
        answer = await self.api.get(f"/v1/deliveries?{query}")
        assert answer.status == 200, answer
        items: list[Shown] = answer.body["items"]
        return items

    async def delivery(self, delivery: str) -> Shown:
        """A delivery with its attempts."""
        answer = await self.api.get(f"/v1/deliveries/{delivery}")
        assert answer.status == 200, answer
        found: Shown = answer.body
        return found

    async def test(self, webhook: str) -> str:
        """Send a test to a webhook; gives the id of the delivery."""
        answer = await self.api.post(f"/v1/webhooks/{webhook}/test")
        assert answer.status == 202, answer
        delivery: str = answer.body["id"]
        return delivery

    async def until(self, delivery: str, state: str, *, within: float = 20) -> Shown:
        """The delivery, once it is in this state."""

        async def there() -> Shown:
            found = await self.delivery(delivery)
            assert found["state"] == state, found
            return found

        return await eventually(there, within=within)

    async def came(self, path: str, event: str, *, count: int = 1, within: float = 20) -> list[Posted]:
        """What came of this type to a path, once it is so many."""

        def there() -> list[Posted]:
            found = self.receiver.at(path, event)
            assert len(found) >= count, self.receiver.posted
            return found

        return await eventually(there, within=within)


@pytest.fixture(scope="session")
async def post() -> AsyncIterator[Post]:
    """The stack of all tests about notifications."""
    async with sinks.receiver() as receiver, sinks.mail_sink() as mail:
        settings = {**SETTINGS, "LIFECYCLE_SMTP_URL": f"smtp://127.0.0.1:{mail.port}"}
        async with mortal_stack(settings) as (stack, points), shop.client(stack) as api:
            yield Post(stack, points, api, receiver, mail)


@pytest.fixture(autouse=True)
async def cleared(post: Post) -> AsyncIterator[None]:
    """No webhook of one test is left for the next, and nothing on its way."""
    yield
    for hook in (await post.api.get("/v1/webhooks")).body["items"]:
        await post.api.delete(f"/v1/webhooks/{hook['id']}")
    post.receiver.silent.clear()
    await quiet(post.stack)
