"""Certificates while a server is away: what was decided is shown and cancelled, and nothing is half done."""

from datetime import datetime

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.freezing import frozen
from tests.support.issuing import is_refused, issued, show, until
from tests.support.waiting import eventually


async def test_without_the_database_a_renewal_is_still_cancelled(own: Stack, client: Api, slug: str) -> None:
    """With MySQL stopped I see my certificate and cancel its renewal; lists and keys wait, and catch up."""
    domain = f"{slug}.example.com"
    before = await issued(client, domain)
    path = f"/v1/certificates/{domain}"
    await own.database.child.kill()
    shown = await client.get(path)
    moved = await client.patch(f"/v1/actions/certificate-renewal/{domain}", {"grace": "30d"})
    cancelled = await client.delete(f"/v1/actions/certificate-renewal/{domain}")
    refused = [
        await client.get("/v1/certificates"),
        await client.get(f"{path}/chain.pem"),
        await client.post(f"{path}/key"),
        await client.post(f"{path}/issue", {"challenge": "http-01"}),
    ]
    await own.database.start()

    assert (shown.status, shown.body["serial"]) == (200, before["serial"])
    assert [one["number"] for one in shown.body["versions"]] == [1]
    assert moved.status == 200, moved
    assert datetime.fromisoformat(moved.body["next_renewal_at"]) < datetime.fromisoformat(before["next_renewal_at"])
    assert cancelled.body["outcome"] == "cancelled"
    assert all(is_refused(answer, 503, "database_unavailable") for answer in refused)

    async def caught_up() -> bool:
        action = await client.get(f"/v1/actions/certificate-renewal/{domain}")
        return bool(action.body["state"] == "cancelled")

    await eventually(caught_up, within=20)
    log = (await client.get("/v1/audit?limit=200")).body["items"]
    assert not [one for one in log if one["action"] == "certificate.key_downloaded"]


async def test_a_ca_that_hangs_delays_nobody(own: Stack, client: Api, slug: str) -> None:
    """While the CA does not answer, what is under way waits, can be seen and given up, and the rest goes on."""
    good, stuck = f"good.{slug}.example.com", f"stuck.{slug}.example.com"
    await issued(client, good)
    async with frozen(own.authority.child):
        asked = await client.post(f"/v1/certificates/{stuck}/issue", {"challenge": "http-01"})
        waiting = await show(client, stuck)
        cancelled = await client.delete(f"/v1/actions/certificate-renewal/{good}")
        halted = await client.post(f"/v1/certificates/{stuck}/halt")
    shown = await until(client, good, "active")

    assert asked.status == 202, asked
    assert waiting["status"] == "issuing"
    assert cancelled.status == 200
    assert halted.status == 202
    assert shown["cancelled_at"] is not None
