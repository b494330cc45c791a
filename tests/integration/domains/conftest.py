"""A stack that verifies domains, with DNS that a test can set, and a worker that may die at any exact point."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from tests.support import shop
from tests.support.api import Answer, Api
from tests.support.mortal import Points, mortal_stack
from tests.support.shop import Shop
from tests.support.waiting import eventually

ADDRESS = "203.0.113.10"  # of the gateway, as far as DNS is concerned (RFC 5737)
SETTINGS = {
    "LIFECYCLE_RECONCILER_INTERVAL": "1s",
    "LIFECYCLE_DOMAINS_VERIFY": "true",
    "LIFECYCLE_GATEWAY_ADDRESSES": ADDRESS,
    "LIFECYCLE_DEPLOY_CNAME_TARGET": "cname.lifecycle.example",
}

Shown = Mapping[str, Any]


class Land(NamedTuple):
    """The servers, the points of the worker, the API, and the database."""

    stack: Stack
    points: Points
    api: Api
    db: Database

    async def shop(self, slug: str) -> Shop:
        """A new project."""
        return await Shop.opened(self.stack, self.api, slug)

    async def add(self, project: str, domain: str) -> Shown:
        """Add a domain; gives it as it is then."""
        answer = await self.api.post(f"/v1/projects/{project}/domains", {"domain": domain})
        assert answer.status == 201, answer
        added: Shown = answer.body
        return added

    async def show(self, project: str, domain: str) -> Shown:
        """The domain as it is."""
        answer = await self.api.get(f"/v1/projects/{project}/domains/{domain}")
        assert answer.status == 200, answer
        shown: Shown = answer.body
        return shown

    async def verify(self, project: str, domain: str) -> Shown:
        """Look now; gives what came of it."""
        answer = await self.api.post(f"/v1/projects/{project}/domains/{domain}/verify")
        assert answer.status == 200, answer
        shown: Shown = answer.body
        return shown

    async def remove(self, project: str, domain: str) -> Answer:
        """Give the domain back."""
        return await self.api.delete(f"/v1/projects/{project}/domains/{domain}")

    async def until(self, project: str, domain: str, status: str, *, within: float = 20) -> Shown:
        """The domain, once it has this status."""

        async def there() -> Shown:
            shown = await self.show(project, domain)
            assert shown["status"] == status, shown
            return shown

        return await eventually(there, within=within)

    async def set(self, shown: Shown, purpose: str) -> None:
        """Set the DNS records of this purpose, as they are shown."""
        for record in shown["records"]:
            if record["purpose"] != purpose:
                continue
            host = f"{record['name']}."
            match record["type"]:
                case "TXT":
                    await self.stack.challenges.tell("set-txt", host=host, value=record["value"])
                case "CNAME":
                    await self.stack.challenges.tell("set-cname", host=host, target=f"{record['value']}.")
                case _:
                    await self.stack.challenges.tell("add-a", host=host, addresses=[record["value"]])

    async def actions(self, project: str) -> list[str]:
        """What the audit log says of the domains of a project, oldest first."""
        rows = await self.db.all(
            "SELECT action FROM audit_log WHERE project_id = %s AND action LIKE 'domain.%%' ORDER BY at, position",
            project,
        )
        return [row["action"] for row in rows]


@pytest.fixture(scope="session")
async def land() -> AsyncIterator[Land]:
    """The stack of all tests about the verification of domains."""
    async with mortal_stack(SETTINGS) as (stack, points), shop.client(stack) as api:
        db = Database(stack.database.url, size=4, deadline=timedelta(seconds=10))
        try:
            yield Land(stack, points, api, db)
        finally:
            await db.close()
