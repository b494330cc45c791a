"""Certificates while a server is away: what was decided is shown and cancelled, and nothing is half done."""

import asyncio
from datetime import datetime

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.freezing import frozen
from tests.support.issuing import is_refused, issued, show, until
from tests.support.shell import LIFECYCLE, Shell
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


async def test_a_ca_that_hangs_is_blamed_and_not_the_engine(own: Stack, client: Api) -> None:
    """Who changes our account while the CA hangs is told that it is the CA; repeating it later goes on."""
    shell = Shell(own)
    before = await issued(client, "roll-over.example.com")
    async with frozen(own.authority.child):
        rolled = shell.run("authority", "roll-over", "pebble")
    again = shell.run("authority", "roll-over", "pebble")

    assert before["ca"] == "pebble"
    assert rolled.returncode == 1
    assert "The certificate authority pebble cannot be asked: no answer in time." in rolled.stderr
    assert again.returncode == 0, again.stderr


async def test_the_doctor_waits_for_no_ca(own: Stack) -> None:
    """Each check is printed as soon as it is there, and a CA that hangs is one that does not answer within 5 s."""
    async with frozen(own.authority.child):
        doctor = await asyncio.create_subprocess_exec(
            LIFECYCLE, "doctor", env=Shell(own).environment, stdout=asyncio.subprocess.PIPE
        )
        assert doctor.stdout is not None
        first, ended = await doctor.stdout.readline(), doctor.returncode
        rest, _ = await doctor.communicate()

    assert first.startswith(b"ok   database: ")
    assert ended is None
    assert b"bad  authority pebble: no answer within 5s" in rest
    assert b"gateway certificates: " in rest
    assert doctor.returncode == 1


async def test_a_revocation_that_failed_is_no_success(own: Stack, client: Api, slug: str) -> None:
    """While the CA is down, `cert revoke` says that it is not revoked, and why, with the exit code of a fault."""
    domain = f"{slug}.example.com"
    before = await issued(client, domain)
    await own.authority.child.kill()
    asked = Shell(own).run("cert", "revoke", domain, "--yes")
    await own.authority.start()
    shown = await show(client, domain)

    assert asked.returncode == 1
    assert f"error: {domain} is not revoked: The CA did not answer: " in asked.stderr
    assert "It is served and renewed as before." in asked.stderr
    assert (shown["status"], shown["serial"], shown["revoking"]) == ("active", before["serial"], False)
