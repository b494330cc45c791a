"""Every way to a certificate, from the request to the first visitor who gets it."""

import asyncio
import json
import subprocess

import pytest

from tests.support.certified import Site


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
async def test_a_name_whose_visitors_come_to_us_is_certified_without_any_dns(
    site: Site, slug: str, challenge: str
) -> None:
    """One request, and visitors get a certificate that they trust; nothing of the challenge stays."""
    domain = f"{slug}.example.test"

    issued = await site.issue(domain, challenge)
    shown = await site.visit(domain)

    assert (shown.serial, shown.names) == (issued["serial"], (domain,))
    assert issued["ca"] == "pebble"
    assert await left_behind(site, domain) == []


async def test_several_names_share_one_certificate(site: Site, slug: str) -> None:
    """All names of the request are in the certificate, and visitors of each get it."""
    names = [f"{word}.{slug}.example.test" for word in ("www", "api", "shop")]

    issued = await site.issue(names[0], "http-01", *names)

    for name in names:
        shown = await site.visit(name)
        assert (shown.serial, sorted(shown.names)) == (issued["serial"], sorted(names))


async def test_a_wildcard_with_its_apex(site: Site, slug: str) -> None:
    """One certificate serves a zone and every host in it; the TXT records are gone afterwards."""
    apex = f"{slug}.dyn.test"

    issued = await site.issue(f"*.{apex}", "dns-01", f"*.{apex}", apex)

    for host in (apex, f"www.{apex}", f"any.{apex}"):
        shown = await site.visit(host)
        assert (shown.serial, sorted(shown.names)) == (issued["serial"], [f"*.{apex}", apex])
    assert await left_behind(site, f"*.{apex}") == []
    assert await site.texts(f"_acme-challenge.{apex}") == []


async def test_a_zone_of_somebody_else_by_one_cname(site: Site) -> None:
    """A customer who set one CNAME gets certificates without giving us anything else."""
    issued = await site.issue("www.corp.test", "dns-01")
    assert (await site.visit("www.corp.test")).serial == issued["serial"]
    assert await site.texts("www.corp.test.acme.test") == []


async def test_openssl_finds_it_good_too(site: Site, slug: str) -> None:
    """Another client than ours follows the chain to the CA's root, and finds name and dates good."""
    domain = f"{slug}.example.test"
    await site.issue(domain, "http-01")

    said = await asyncio.to_thread(
        subprocess.run,
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{site.port}", "-servername", domain),
            *("-CAfile", str(site.trust), "-verify_return_error", "-verify_hostname", domain),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert said.returncode == 0, said.stderr
    assert "Verify return code: 0 (ok)" in said.stdout
    assert "TLSv1.3" in said.stdout


async def test_the_bundle_of_the_stack_is_all_that_a_visitor_needs(site: Site, slug: str) -> None:
    """`ca_bundle` of ready.json is enough to trust what the gateway serves."""
    domain = f"{slug}.example.test"
    issued = await site.issue(domain, "http-01")
    ready = json.loads((site.stack.root / "ready.json").read_text())
    shown = await site.visit(domain, trust=ready["ca_bundle"])
    assert shown.serial == issued["serial"]


async def test_a_ca_that_wants_a_binding_with_the_chain_that_we_prefer(site: Site, slug: str) -> None:
    """A CA with accounts of its own takes ours by the configured key, and of its two chains visitors get ours."""
    domain = f"{slug}.example.test"

    issued = await site.issue(domain, "http-01", ca="strict")

    # The visitor knows no other root of that CA than the preferred one.
    assert (await site.visit(domain)).serial == issued["serial"]
    assert issued["ca"] == "strict"
    account = await site.one("SELECT status, url FROM acme_accounts WHERE ca = 'strict'")
    assert account["status"] == "valid"


async def test_the_first_order_of_a_name_is_rehearsed(site: Site, slug: str) -> None:
    """Before the CA that counts is asked, the names are issued where a mistake costs nothing; and only once."""
    domain = f"{slug}.example.test"

    issued = await site.issue(domain, "http-01", ca="careful")
    await site.api.post(f"/v1/certificates/{domain}/renew")
    renewed = await site.until(domain, lambda shown: len(shown["versions"]) == 2 and shown["status"] == "active")

    orders = await site.all("SELECT ca, status FROM acme_orders WHERE domain = %s ORDER BY created_at", domain)
    assert [(row["ca"], row["status"]) for row in orders] == [
        ("practice", "rehearsed"),
        ("careful", "valid"),
        ("careful", "valid"),
    ] or sorted((row["ca"], row["status"]) for row in orders) == [
        ("careful", "valid"),
        ("careful", "valid"),
        ("practice", "rehearsed"),
    ]
    assert [one["ca"] for one in renewed["versions"]] == ["careful", "careful"]
    assert renewed["serial"] != issued["serial"]


async def test_a_person_sets_the_records(site: Site, slug: str) -> None:
    """Whoever gives us no access to a zone is told which record to set, says when it is done, and has a certificate."""
    domain = f"{slug}.hand.test"
    answer = await site.ask(domain, "dns-01", by_person=True)
    assert answer.status == 202, answer
    told = await site.until(domain, lambda shown: bool(shown["records"]) and shown["stage"] == "wait-for-records")

    [record] = told["records"]
    assert (record["name"], record["type"]) == (f"_acme-challenge.{domain}", "TXT")
    await site.set_text(record["name"], record["value"])
    said = await site.api.post(f"/v1/certificates/{domain}/records-published")

    assert said.status == 202, said
    issued = await site.until(domain, lambda shown: shown["status"] == "active")
    assert (await site.visit(domain)).serial == issued["serial"]


async def test_an_address_is_certified_where_the_ca_does_that(site: Site) -> None:
    """An IP address gets its certificate from a CA that certifies such."""
    issued = await site.issue("127.0.0.1", "http-01", ca="careful")
    assert issued["names"] == ["127.0.0.1"]


async def test_an_address_is_refused_where_the_ca_does_not(site: Site) -> None:
    """It is said before the CA is asked."""
    answer = await site.ask("127.0.0.1", "http-01", ca="pebble")
    assert answer.status == 422, answer


async def left_behind(site: Site, domain: str) -> list[str]:
    """What is still published for a domain."""
    rows = await site.all(
        "SELECT c.name FROM challenges c JOIN acme_orders o ON o.issuance_id = c.issuance_id "
        "WHERE o.domain = %s AND c.removed_at IS NULL",
        domain,
    )
    return [str(row["name"]) for row in rows]


async def test_another_ca_stands_in_for_one_that_is_down(site: Site, slug: str) -> None:
    """A first certificate does not wait for the CA that was wanted: after three failures the next one is asked."""
    domain = f"{slug}.example.test"
    await site.issue(f"before.{domain}", "http-01", ca="distant")
    await site.line.cut()
    try:
        await site.ask(domain, "http-01", ca="distant")
        failed = await site.until(domain, lambda shown: bool(shown["last_error"]))
        assert "did not answer" in failed["last_error"]
        await site.api.post(f"/v1/certificates/{domain}/renew")
        issued = await site.until(domain, lambda shown: shown["status"] == "active")
    finally:
        await site.line.mend()
        await site.forget_failures()

    assert issued["ca"] == "pebble"
    assert (await site.visit(domain)).serial == issued["serial"]
