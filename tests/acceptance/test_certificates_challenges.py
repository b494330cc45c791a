"""What proves control of a domain: the answers we give to a CA, and the records that a person sets."""

import secrets
from collections.abc import AsyncIterator
from functools import partial

import pytest

from lifecycle.certs import probes
from lifecycle.dev.stack import APEX, Stack
from tests.support.api import Api
from tests.support.issuing import Shown, is_refused, issued, show, until
from tests.support.shop import visit
from tests.support.waiting import eventually


@pytest.fixture
async def anybody(api: Api) -> AsyncIterator[Api]:
    """Somebody without a key."""
    async with api.with_key(None) as client:
        yield client


@pytest.fixture
def domain(slug: str) -> str:
    """A domain that no other test uses."""
    return f"{slug}.example.com"


async def test_only_what_a_ca_looks_for_is_answered(anybody: Api) -> None:
    """Without a key there are answers to challenges that are open, and nothing else; nothing is to be guessed."""
    token = probes.new_token()
    probe = await anybody.get(f"{probes.PATH}{token}")
    others = [
        await anybody.get(f"{probes.PATH}{one}")
        for one in (secrets.token_urlsafe(32), "a.b", "%27%20OR%201=1", "a" * 300, "..%2f", "%00")
    ]
    document = (await anybody.get("/openapi.json")).body

    assert probe.status == 200
    assert probe.body == probes.expected_answer(token, installation=APEX)
    assert all(answer.status == 404 for answer in others), others
    assert not [path for path in document["paths"] if "acme-challenge" in path]


async def test_the_gateway_leads_every_host_to_the_answer(stack: Stack) -> None:
    """Whatever the name of a host that leads here, a CA finds the answer; elsewhere on it, nothing of the API."""
    token = probes.new_token()
    found = await visit(stack, "anything.example.org", f"{probes.PATH}{token}")
    other = await visit(stack, "anything.example.org", "/v1/certificates")

    assert (found.status, found.text) == (200, probes.expected_answer(token, installation=APEX))
    assert other.status == 404


async def test_every_way_of_proving_control_brings_a_certificate(stack: Stack, api: Api, domain: str) -> None:
    """HTTP-01 and TLS-ALPN-01 work through the gateway, beside the sites that it serves."""
    by_http = await issued(api, f"http.{domain}", challenge="http-01")
    by_tls = await issued(api, f"tls.{domain}", challenge="tls-alpn-01")

    assert (by_http["challenge"], by_tls["challenge"]) == ("http-01", "tls-alpn-01")
    assert await stack.authority.status(by_tls["serial"]) == "Valid"


async def test_a_person_is_told_which_records_to_set(stack: Stack, api: Api, domain: str) -> None:
    """Without access to my DNS I am shown the TXT records, say that they are set, and get a wildcard certificate."""
    wildcard = f"*.{domain}"
    asked = await api.post(
        f"/v1/certificates/{wildcard}/issue", {"challenge": "dns-01", "names": [domain], "by_person": True}
    )
    waiting = await eventually(partial(_waiting, api, wildcard), within=20)
    early = await api.get(f"/v1/certificates/{wildcard}/chain.pem")
    for number, record in enumerate(waiting["records"]):
        assert number < 2
        await stack.challenges.tell("set-txt", host=f"{record['name']}.", value=record["value"])
    said = await api.post(f"/v1/certificates/{wildcard}/records-published")
    shown = await until(api, wildcard, "active", within=30)
    late = await api.post(f"/v1/certificates/{wildcard}/records-published")
    cancelled = await api.delete(f"/v1/actions/certificate-renewal/{wildcard}")

    assert (asked.status, asked.body["status"]) == (202, "issuing")
    assert waiting["stage"] == "wait-for-records"
    assert {(one["name"], one["type"]) for one in waiting["records"]} == {(f"_acme-challenge.{domain}", "TXT")}
    assert len({one["value"] for one in waiting["records"]}) == 2
    assert is_refused(early, 409, "certificate_not_issued")
    assert said.status == 202, said
    assert shown["names"] == [wildcard, domain]
    assert shown["records"] == []
    assert is_refused(late, 409, "certificate_not_issuing")
    assert cancelled.body["outcome"] == "cancelled"


async def test_an_issuance_that_waits_for_a_person_can_be_given_up(api: Api, domain: str) -> None:
    """I change my mind: nothing waits any more, and the certificate is said to have failed because of me."""
    await api.post(f"/v1/certificates/{domain}/issue", {"challenge": "dns-01", "by_person": True})
    await eventually(partial(_waiting, api, domain), within=20)
    halted = await api.post(f"/v1/certificates/{domain}/halt")
    shown = await until(api, domain, "failed")
    again = await api.post(f"/v1/certificates/{domain}/halt")
    way_out = await issued(api, domain, challenge="http-01")

    assert halted.status == 202, halted
    assert "given up" in shown["last_error"]
    assert shown["next_renewal_at"] is None
    assert is_refused(again, 409, "certificate_not_issuing")
    assert (way_out["challenge"], way_out["last_error"]) == ("http-01", "")


async def test_a_preflight_says_what_is_in_the_way(stack: Stack, api: Api, domain: str) -> None:
    """Before anything is ordered I read which record to set; when all is well, that is said with what was looked at."""
    dead = f"dead.{domain}"
    await stack.challenges.tell("add-a", host=dead, addresses=["127.0.0.9"])
    body = {"challenge": "http-01", "names": [dead]}
    answer = await api.post(f"/v1/certificates/{domain}/preflight", body)
    zoneless = await api.post(f"/v1/certificates/{domain}/preflight", {"challenge": "dns-01"})
    by_person = await api.post(f"/v1/certificates/{domain}/preflight", {"challenge": "dns-01", "by_person": True})

    assert (answer.status, answer.body["verdict"], answer.body["ca"]) == (200, "would_fail", "pebble")
    good = next(one for one in answer.body["items"] if one["name"] == domain)
    bad = next(one for one in answer.body["items"] if one["name"] == dead)
    assert (good["verdict"], good["findings"]) == ("would_issue", [])
    assert any("gateway answers at 127.0.0.1" in check for check in good["checks"])
    assert [one["reason"] for one in bad["findings"]] == ["not_reached"]
    assert "127.0.0.9" in bad["findings"][0]["why"]
    assert [one["reason"] for one in zoneless.body["items"][0]["findings"]] == ["no_zone"]
    assert by_person.body["verdict"] == "would_issue"
    assert (await api.get(f"/v1/certificates/{domain}")).status == 404


async def test_a_domain_that_does_not_lead_here_gets_no_certificate_and_says_why(
    stack: Stack, api: Api, domain: str
) -> None:
    """The first certificate of a domain that leads elsewhere fails in words, is tried again, and can be called off."""
    await stack.challenges.tell("add-a", host=domain, addresses=["127.0.0.9"])
    await api.post(f"/v1/certificates/{domain}/issue", {"challenge": "http-01"})

    async def failed() -> bool:
        return bool((await show(api, domain))["last_error"])

    async def listed() -> bool:
        return bool((await api.get(f"/v1/actions/certificate-renewal/{domain}")).body["state"] == "pending")

    await eventually(failed, within=30)
    shown = await show(api, domain)
    await eventually(listed, within=10)
    cancelled = await api.delete(f"/v1/actions/certificate-renewal/{domain}")

    assert domain in shown["last_error"]
    assert shown["next_attempt_at"] == shown["next_renewal_at"] is not None
    assert shown["serial"] is None
    assert cancelled.body["outcome"] == "cancelled"
    assert (await show(api, domain))["next_attempt_at"] is None


async def _waiting(api: Api, domain: str) -> Shown | None:
    shown = await show(api, domain)
    return shown if shown["stage"] == "wait-for-records" and shown["records"] else None
