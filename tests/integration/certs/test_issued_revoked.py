"""Revocation, from the request until visitors are shown something else."""

import asyncio

import pytest

from tests.support.certified import Site
from tests.support.handshakes import visitor, visits


async def test_a_disclosed_key_is_replaced_without_a_gap(site: Site, slug: str) -> None:
    """The CA revokes it, the key is blocked for ever, and another certificate with another key takes its place."""
    domain = f"{slug}.example.test"
    await site.issue(domain, "http-01")
    former = await site.one("SELECT * FROM certificates WHERE domain = %s", domain)
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        visiting = group.create_task(visits(site.port, [domain], visitor(site.trust), until=ended.is_set))
        try:
            said = await site.api.post(f"/v1/certificates/{domain}/revoke", {"reason": "key_compromise"})
            assert said.status == 202, said
            shown = await site.until(
                domain, lambda one: one["status"] == "active" and one["versions"][0]["number"] == 2
            )
        finally:
            ended.set()

    assert [one for one in visiting.result() if one.failure] == []
    assert (await site.visit(domain)).serial == shown["serial"] != former["serial"]
    assert shown["versions"][0]["cause"] == "key_compromise"
    assert await site.stack.authority.status(former["serial"]) == "Revoked"
    assert await site.stack.authority.status(shown["serial"]) == "Valid"
    blocked = await site.one("SELECT key_digest FROM blocked_keys WHERE domain = %s", domain)
    new = await site.one("SELECT key_digest FROM certificates WHERE domain = %s AND version = 2", domain)
    assert blocked["key_digest"] == former["key_digest"] != new["key_digest"]


@pytest.mark.parametrize("reason", ["superseded", "cessation_of_operation", "unspecified"])
async def test_what_is_revoked_for_another_reason_is_served_no_more(site: Site, slug: str, reason: str) -> None:
    """It is revoked at the CA, nobody is shown it any more, and nothing renews it unless somebody asks."""
    domain = f"{slug}.example.test"
    issued = await site.issue(domain, "http-01")

    await site.api.post(f"/v1/certificates/{domain}/revoke", {"reason": reason})
    shown = await site.until(domain, lambda one: one["status"] == "revoked")

    assert await site.stack.authority.status(issued["serial"]) == "Revoked"
    assert shown["next_renewal_at"] is None
    with pytest.raises(OSError, match="certificate verify failed"):
        await site.visit(domain)
    again = await site.issue(domain, "http-01")
    assert (await site.visit(domain)).serial == again["serial"] != issued["serial"]


async def test_a_certificate_is_revoked_although_its_account_is_gone(site: Site, slug: str) -> None:
    """Whoever has the key of a certificate may have it revoked, so a lost account keeps nobody from it."""
    domain = f"{slug}.example.test"
    issued = await site.issue(domain, "http-01", ca="strict")
    ended = await site.api.post("/v1/authorities/strict/account/deactivate")
    assert ended.status == 200, ended
    try:
        await site.api.post(f"/v1/certificates/{domain}/revoke", {"reason": "superseded"})
        await site.until(domain, lambda one: one["status"] == "revoked")
    finally:
        anew = await site.api.post("/v1/authorities/strict/account/rollover")
    assert anew.status == 200, anew
    assert await site.strict.status(issued["serial"]) == "Revoked"


async def test_what_the_ca_would_not_revoke_can_be_asked_again(site: Site, slug: str) -> None:
    """A CA that cannot be reached is said to be, the certificate goes on, and the next request is a new one."""
    domain = f"{slug}.example.test"
    await site.issue(domain, "http-01", ca="distant")
    await site.line.cut()
    try:
        await site.api.post(f"/v1/certificates/{domain}/revoke", {"reason": "superseded"})
        shown = await site.until(domain, lambda one: bool(one["last_error"]))
        assert shown["status"] == "active"
        assert (await site.visit(domain)).serial == shown["serial"]
    finally:
        await site.line.mend()
        await site.forget_failures()
