"""A certificate from the first wish to its revocation, as a customer's program sees it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lifecycle import clock
from lifecycle.dev.stack import APEX, Stack
from lifecycle.models import Role
from tests.support import handshakes
from tests.support.api import Api
from tests.support.inside import key_of
from tests.support.issuing import is_refused, issued, show, until
from tests.support.shop import Shop
from tests.support.waiting import eventually


@pytest.fixture
def domain(slug: str) -> str:
    """A domain that no other test uses."""
    return f"www.{slug}.example.com"


@pytest.fixture
async def operator(stack: Stack, api: Api) -> AsyncIterator[Api]:
    """Somebody of the same workspace who is not an administrator."""
    token = await key_of(stack, workspace="dev", person="olivia@example.com", role=Role.OPERATOR)
    async with api.with_key(token) as client:
        yield client


@pytest.fixture
async def stranger(stack: Stack, api: Api, slug: str) -> AsyncIterator[Api]:
    """An administrator of another workspace."""
    token = await key_of(stack, workspace=slug, person="mallory@example.com", role=Role.ADMINISTRATOR)
    async with api.with_key(token) as client:
        yield client


async def test_a_domain_gets_a_certificate_that_visitors_accept(stack: Stack, api: Api, domain: str) -> None:
    """One request, and a moment later browsers that trust the CA accept my domain; what I download is the same."""
    other = domain.removeprefix("www.")
    shown = await issued(api, domain, names=[other])
    visited = [
        await handshakes.handshake(stack.ports["gateway_https"], name, handshakes.visitor(stack.root / "ca-bundle.pem"))
        for name in (domain, other)
    ]
    downloaded = await api.get(f"/v1/certificates/{domain}/chain.pem")
    chain = x509.load_pem_x509_certificates(downloaded.body.encode())
    listed = (await api.get("/v1/certificates?status=active&limit=1000")).body["items"]

    assert shown["names"] == [other, domain]
    assert {one.serial for one in visited} == {shown["serial"]} == {f"{chain[0].serial_number:x}"}
    assert downloaded.headers["Content-Type"] == "application/pem-certificate-chain"
    assert len(chain) > 1
    assert datetime.fromisoformat(shown["not_before"]) <= clock.now() < datetime.fromisoformat(shown["next_renewal_at"])
    assert shown["next_renewal_at"] < shown["not_after"]
    assert (shown["ca"], shown["renewal_reason"]["source"], shown["last_error"]) == ("pebble", "fallback", "")
    found = next(one for one in listed if one["domain"] == domain)
    assert found == {name: shown[name] for name in found}
    assert [one["number"] for one in shown["versions"] if one["in_use"]] == [1]


async def test_asking_again_changes_nothing(api: Api, domain: str) -> None:
    """The same wish twice costs one order, also when the name is written another way."""
    first = await issued(api, domain)
    again = await api.post(f"/v1/certificates/{domain.upper()}/issue", {"challenge": "http-01"})

    assert (again.status, again.body["serial"], len(again.body["versions"])) == (202, first["serial"], 1)
    assert again.headers["ETag"] == f'"{first["generation"]}"'


async def test_a_domain_is_the_same_in_any_script(api: Api, slug: str) -> None:
    """I may write a name in my own script or as DNS has it; it is one certificate, under the name that DNS has."""
    written, in_dns = f"b%C3%BCcher.{slug}.example.com", f"xn--bcher-kva.{slug}.example.com"
    await issued(api, written)
    shown = [await show(api, one) for one in (written, in_dns)]
    action = await api.get(f"/v1/actions/certificate-renewal/{written}")

    assert shown[0] == shown[1]
    assert (shown[0]["domain"], shown[0]["names"]) == (in_dns, [in_dns])
    assert action.body["key"] == in_dns


async def test_the_same_request_with_an_idempotency_key_is_carried_out_once(api: Api, domain: str) -> None:
    """A client that repeats what it got no answer for renews once."""
    await issued(api, domain)
    key = {"Idempotency-Key": domain}
    answers = [await api.post(f"/v1/certificates/{domain}/renew", {}, headers=key) for _ in range(2)]
    await _versions(api, domain, 2)
    answers.append(await api.post(f"/v1/certificates/{domain}/renew", {}, headers=key))

    assert [answer.status for answer in answers] == [202, 202, 202]
    assert len((await show(api, domain))["versions"]) == 2


async def test_the_next_renewal_is_an_action_like_any_other(api: Api, operator: Api, domain: str) -> None:
    """I see when it is renewed, move that, cancel it, renew at once; an ETag keeps me from acting on old news."""
    first = await issued(api, domain)
    path = f"/v1/actions/certificate-renewal/{domain}"
    listed = await eventually(partial(_pending, api, domain), within=10)
    in_a_month = (clock.now() + timedelta(days=30)).replace(microsecond=0)
    stale = await operator.patch(path, {"grace": "30d"}, headers={"If-Match": '"77"'})
    late = await operator.patch(path, {"due_at": first["not_after"]})
    moved = await operator.patch(
        path, {"due_at": in_a_month.isoformat()}, headers={"If-Match": f'"{first["generation"]}"'}
    )
    cancelled = await operator.delete(path)
    again = await operator.delete(path)
    idle = await show(api, domain)
    run = await operator.post(f"{path}/run")
    renewed = await until(api, domain, "active")

    assert (listed["due_at"], listed["generation"]) == (first["next_renewal_at"], first["generation"])
    assert is_refused(stale, 412, "certificate_generation_mismatch")
    assert is_refused(late, 422, "certificate_renewal_too_late")
    assert moved.status == 200, moved
    assert datetime.fromisoformat(moved.body["next_renewal_at"]) == in_a_month
    assert moved.body["generation"] > first["generation"]
    assert (cancelled.status, cancelled.body["outcome"]) == (200, "cancelled")
    assert again.body == cancelled.body
    assert (idle["status"], idle["next_renewal_at"]) == ("active", None)
    assert idle["cancelled_at"] == cancelled.body["cancelled_at"]
    assert run.status == 200, run
    assert (renewed["cancelled_at"], renewed["serial"] != first["serial"]) == (None, True)
    assert [(one["number"], one["cause"], one["in_use"]) for one in renewed["versions"]] == [
        (2, "renewal", True),
        (1, "requested", False),
    ]
    former = await api.get(f"/v1/certificates/{domain}/chain.pem?version=1")
    assert f"{x509.load_pem_x509_certificate(former.body.encode()).serial_number:x}" == first["serial"]


async def test_a_third_certificate_in_a_day_takes_force(api: Api, domain: str) -> None:
    """A loop in somebody's script cannot burn the limits of the CA; a person who must can still go on."""
    await issued(api, domain)
    await api.post(f"/v1/certificates/{domain}/renew")
    await _versions(api, domain, 2)
    refused = await api.post(f"/v1/certificates/{domain}/renew")
    forced = await api.post(f"/v1/certificates/{domain}/renew", {"force": True})

    assert is_refused(refused, 409, "certificate_budget")
    assert forced.status == 202, forced
    await _versions(api, domain, 3)


async def test_the_private_key_is_given_to_administrators_and_never_unnoticed(
    api: Api, operator: Api, domain: str
) -> None:
    """Only an administrator gets the key; it fits the certificate, and the audit log says who took it."""
    shown = await issued(api, domain)
    refused = await operator.post(f"/v1/certificates/{domain}/key")
    given = await api.post(f"/v1/certificates/{domain}/key")
    log = (await api.get("/v1/audit?limit=50")).body["items"]
    key = serialization.load_pem_private_key(given.body.encode(), None)
    chain = await api.get(f"/v1/certificates/{domain}/chain.pem")
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    assert is_refused(refused, 403, "role_required")
    assert (given.status, given.headers["Cache-Control"]) == (200, "no-store")
    certified = x509.load_pem_x509_certificate(chain.body.encode()).public_key()
    assert key.public_key().public_bytes(*form) == certified.public_bytes(*form)
    taken = [one for one in log if one["action"] == "certificate.key_downloaded" and one["detail"]["domain"] == domain]
    assert [(one["actor"], one["detail"]["serial"]) for one in taken] == [("admin@example.com", shown["serial"])]


async def test_a_revoked_certificate_is_served_no_more(stack: Stack, api: Api, operator: Api, domain: str) -> None:
    """An administrator revokes; the CA says so too, nothing is renewed, and there is nothing left to download."""
    shown = await issued(api, domain)
    not_allowed = await operator.post(f"/v1/certificates/{domain}/revoke", {"reason": "superseded"})
    asked = await api.post(f"/v1/certificates/{domain}/revoke", {"reason": "superseded"})
    after = await until(api, domain, "revoked")
    again = await api.post(f"/v1/certificates/{domain}/revoke", {"reason": "superseded"})
    chain = await api.get(f"/v1/certificates/{domain}/chain.pem")

    assert is_refused(not_allowed, 403, "role_required")
    assert (asked.status, again.status) == (202, 202)
    assert await stack.authority.status(shown["serial"]) == "Revoked"
    assert (after["next_renewal_at"], after["revoking"]) == (None, False)
    assert after["revoked_at"] is not None
    assert is_refused(chain, 409, "certificate_revoked")


async def test_a_disclosed_key_is_replaced_at_once(stack: Stack, api: Api, domain: str) -> None:
    """After a key compromise the old one is revoked, and another certificate with another key is in use by itself."""
    first = await issued(api, domain)
    await api.post(f"/v1/certificates/{domain}/revoke", {"reason": "key_compromise"})
    second = await _versions(api, domain, 2)

    assert await stack.authority.status(first["serial"]) == "Revoked"
    assert await stack.authority.status(second["serial"]) == "Valid"
    assert second["versions"][0]["cause"] == "key_compromise"
    assert second["next_renewal_at"] is not None


async def test_many_are_asked_for_at_once_and_renewed_one_after_the_other(api: Api, slug: str) -> None:
    """A list of domains is one request with an outcome for each; their renewals do not come all at once."""
    domains = [f"{number}.{slug}.example.com" for number in range(4)]
    requests = [{"domain": one, "challenge": "http-01"} for one in (*domains, f"a b.{slug}.example.com")]
    answer = await api.post("/v1/certificates:issue", {"requests": requests})
    shown = [await until(api, one, "active", within=30) for one in domains]
    checked = await api.post("/v1/certificates:check", {"domains": [*domains, f"nowhere.{slug}.example.com"]})
    everything = await api.post("/v1/certificates:check", {})

    outcomes = [(one["outcome"], one["code"]) for one in answer.body["items"]]
    assert outcomes == [("accepted", None)] * 4 + [("refused", "certificate_name_invalid")]
    moments = sorted(one["next_renewal_at"] for one in shown)
    apart = datetime.fromisoformat(moments[-1]) - datetime.fromisoformat(moments[0])
    assert apart > timedelta(days=200)  # of the five years that a certificate of Pebble lives
    assert {one["renewal_reason"]["source"] for one in shown} == {"spread"}
    assert [one["outcome"] for one in checked.body["items"]] == ["accepted"] * 4 + ["refused"]
    assert set(domains) <= {one["domain"] for one in everything.body["items"]}


async def test_a_certificate_belongs_to_the_project_that_has_the_route(
    stack: Stack, api: Api, stranger: Api, slug: str
) -> None:
    """A certificate of a deployed domain is of its project, and no other workspace gets one for it."""
    shop = await Shop.opened(stack, api, slug)
    await shop.deploy("v1")
    hostname = shop.hostname()
    parent = hostname.partition(".")[2]
    stolen = [
        await stranger.post(f"/v1/certificates/{hostname}/issue", {"challenge": "http-01"}),
        await stranger.post(
            f"/v1/certificates/{slug}.example.com/issue", {"challenge": "http-01", "names": [hostname]}
        ),
        await stranger.post(f"/v1/certificates/*.{parent}/issue", {"challenge": "dns-01", "by_person": True}),
        await stranger.post(f"/v1/certificates/{slug}-free.{parent}/issue", {"challenge": "http-01"}),
    ]
    shown = await issued(api, hostname)
    hidden = await stranger.get(f"/v1/certificates/{hostname}")
    taken = await stranger.post(f"/v1/certificates/{hostname}/issue", {"challenge": "http-01"})
    listed = await api.get(f"/v1/certificates?project={slug}")

    assert all(is_refused(answer, 409, "certificate_taken") for answer in (*stolen, taken))
    assert shown["project"] == shop.id
    assert is_refused(hidden, 404, "certificate_not_found")
    assert [one["domain"] for one in listed.body["items"]] == [hostname]


async def test_nobody_gets_a_certificate_under_which_another_workspace_keeps_one(
    api: Api, stranger: Api, domain: str
) -> None:
    """Also without a project: a domain whose certificate is kept here is nobody else's, alone or beside others."""
    await issued(api, domain)
    beside = await stranger.post(f"/v1/certificates/other.{domain}/issue", {"challenge": "http-01", "names": [domain]})
    revoked = await stranger.post(f"/v1/certificates/{domain}/revoke", {})
    key = await stranger.post(f"/v1/certificates/{domain}/key")
    cancelled = await stranger.delete(f"/v1/actions/certificate-renewal/{domain}")

    assert is_refused(beside, 409, "certificate_taken")
    assert all(is_refused(answer, 404, "certificate_not_found") for answer in (revoked, key, cancelled))


async def test_a_certificate_for_the_whole_apex_is_for_the_workspace_that_the_operator_names(
    api: Api, stranger: Api
) -> None:
    """It would cover the projects of everybody, so no tenant gets it; nor a name below another's wildcard."""
    body = {"challenge": "dns-01", "by_person": True}
    alone = await stranger.post(f"/v1/certificates/{APEX}/issue", body)
    under = await stranger.post(f"/v1/certificates/*.{APEX}/issue", body)
    asked = await api.post(f"/v1/certificates/*.{APEX}/issue", body)
    await eventually(partial(_waits_for_records, api, f"*.{APEX}"), within=20)
    below = await stranger.post(f"/v1/certificates/new.{APEX}/issue", {"challenge": "http-01"})
    await api.post(f"/v1/certificates/*.{APEX}/halt", {})

    assert all(is_refused(answer, 409, "certificate_taken") for answer in (alone, under, below))
    assert asked.status == 202


async def _waits_for_records(api: Api, domain: str) -> bool:
    shown = await api.get(f"/v1/certificates/{domain}")
    return bool(shown.body["stage"] == "wait-for-records")


async def _pending(api: Api, domain: str) -> dict[str, Any] | None:
    """The renewal in the list of what is pending."""
    items = (await api.get("/v1/actions?kind=certificate-renewal&limit=1000")).body["items"]
    return next((one for one in items if one["key"] == domain and one["state"] == "pending"), None)


async def _versions(api: Api, domain: str, count: int) -> Any:
    async def there() -> Any:
        shown = await show(api, domain)
        assert shown["status"] == "active"
        assert len(shown["versions"]) == count
        return shown

    return await eventually(there, within=30)
