"""What cannot become a certificate is refused with a code and a hint, before it costs a request to any CA."""

import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from lifecycle.dev.stack import APEX, Stack
from lifecycle.models import Role
from lifecycle.receipts import signing
from tests.support.api import Api
from tests.support.inside import key_of
from tests.support.issuing import another_api, is_refused, issued, show
from tests.support.waiting import eventually

# `roots` is no ACME directory, and nobody listens at `silent`.
_MORE = """
[[authority]]
name = "roots"
directory_url = "{management_url}/roots/0"
trust_file = "{trust}"

[[authority]]
name = "silent"
directory_url = "https://127.0.0.1:9/dir"

[[authority]]
name = "rehearsal"
directory_url = "{directory_url}"
rehearsal_only = true

[[authority]]
name = "public"
directory_url = "{directory_url}"
trust_file = "{trust}"

[[zone]]
name = "keyless.example.com"
server = "127.0.0.1:53"
key_name = "lifecycle"
key_file = "/nowhere/lifecycle.key"

[[zone]]
name = "unknown.example.com"
provider = "no-such-provider"
"""


@pytest.fixture(scope="module")
async def office(stack: Stack) -> AsyncIterator[Api]:
    """The API with further authorities, and zones that lack something."""
    more = _MORE.format(
        management_url=stack.authority.management_url,
        directory_url=stack.authority.directory_url,
        trust=stack.authority.trust,
    )
    file = stack.root / "further-certificates.toml"
    file.write_text((stack.root / "certificates.toml").read_text() + more)
    async with (
        another_api(stack, {"LIFECYCLE_CERTIFICATES_FILE": str(file)}) as url,
        Api(url, (stack.root / "api-key").read_text().strip()) as client,
    ):
        yield client


_LONG = ".".join(["a" * 60] * 4) + ".example.com"


@pytest.mark.parametrize(
    ("domain", "change", "status", "code"),
    [
        ("a%20b.example.com", {}, 422, "certificate_name_invalid"),
        ("www_1.example.com", {}, 422, "certificate_name_invalid"),
        ("www..example.com", {}, 422, "certificate_name_invalid"),
        ("*.*.example.com", {"challenge": "dns-01"}, 422, "certificate_name_invalid"),
        ("xn--a.example.com", {}, 422, "certificate_name_invalid"),
        ("%E2%9D%A4%EF%B8%8F.example.com", {}, 422, "certificate_name_invalid"),
        (_LONG, {}, 422, "certificate_name_too_long"),
        ("a" * 64 + ".example.com", {}, 422, "certificate_name_too_long"),
        ("co.uk", {}, 422, "certificate_name_public_suffix"),
        ("*.co.uk", {"challenge": "dns-01"}, 422, "certificate_name_public_suffix"),
        ("printer.internal", {"ca": "public"}, 422, "certificate_name_not_public"),
        ("203.0.113.7", {}, 422, "certificate_address_not_offered"),
        ("2001:db8::7", {}, 422, "certificate_address_not_offered"),
        ("example.com", {"names": [f"{n}.example.com" for n in range(100)]}, 422, "certificate_too_many_names"),
        ("*.example.com", {}, 422, "certificate_challenge_unfit"),
        ("*.example.com", {"challenge": "tls-alpn-01"}, 422, "certificate_challenge_unfit"),
        ("www.example.com", {"names": ["*.example.com"], "challenge": "dns-01"}, 422, "certificate_name_invalid"),
        ("www.nobodys.example.com", {"challenge": "dns-01"}, 422, "certificate_zone_missing"),
        ("www.keyless.example.com", {"challenge": "dns-01"}, 422, "certificate_zone_credentials"),
        ("www.unknown.example.com", {"challenge": "dns-01"}, 422, "certificate_zone_credentials"),
        ("www.example.com", {"ca": "roots"}, 409, "authority_not_acme"),
        ("www.example.com", {"ca": "silent"}, 503, "authority_unavailable"),
        ("www.example.com", {"ca": "nobody"}, 404, "authority_unknown"),
        ("www.example.com", {"ca": "rehearsal"}, 404, "authority_unknown"),
        ("www.example.com", {"profile": "luxury"}, 422, "certificate_profile_unknown"),
        ("www.example.com", {"project": "no-such-project"}, 404, "project_not_found"),
        (f"free.{APEX}", {}, 409, "certificate_taken"),
        ("www.example.com", {"challenge": "http-02"}, 422, "invalid_request"),
        ("www.example.com", {"challenge": None}, 422, "invalid_request"),
        ("www.example.com", {"names": []}, 422, "invalid_request"),
        ("www.example.com", {"names": ["a" * 1001]}, 422, "invalid_request"),
        ("www.example.com", {"by_person": "yes"}, 422, "invalid_request"),
        ("www.example.com", {"nmaes": ["example.com"]}, 422, "invalid_request"),
    ],
)
async def test_a_request_that_cannot_succeed_is_refused_before_the_ca_is_asked(
    office: Api, domain: str, change: Mapping[str, Any], status: int, code: str
) -> None:
    """Each mistake has its own code and says what to do; nothing is begun."""
    answer = await office.post(f"/v1/certificates/{domain}/issue", {"challenge": "http-01", **change})
    looked = await office.post(f"/v1/certificates/{domain}/preflight", {"challenge": "http-01", **change})
    shown = await office.get(f"/v1/certificates/{domain}")

    assert is_refused(answer, status, code)
    assert looked.status == (200 if code.startswith("certificate_zone") else status)
    assert shown.status == 404


async def test_without_any_authority_that_is_said(stack: Stack, api: Api) -> None:
    """An installation whose file names no authority works for all else, and says what is missing for this."""
    async with another_api(stack, {"LIFECYCLE_CERTIFICATES_FILE": os.devnull}) as url, Api(url, api.key) as bare:
        answer = await bare.post("/v1/certificates/www.example.com/issue", {"challenge": "http-01"})

    assert is_refused(answer, 409, "authorities_missing")


async def test_what_there_is_no_certificate_for_cannot_be_acted_upon(api: Api, slug: str) -> None:
    """Every verb says that there is nothing, also for what could never be a domain."""
    for domain in (f"{slug}.example.com", "*", "-", "a%00b", "%F0%9F%92%A9", "[::1", "a" * 300):
        path = f"/v1/certificates/{domain}"
        answers = [
            await api.get(path),
            await api.get(f"{path}/chain.pem"),
            *[await api.post(f"{path}/{verb}") for verb in ("renew", "halt", "revoke", "key", "records-published")],
            await api.delete(f"/v1/actions/certificate-renewal/{domain}"),
            await api.get(f"/v1/actions/certificate-renewal/{domain}"),
        ]
        assert all(answer.status == 404 for answer in answers), answers


async def test_roles_are_kept(stack: Stack, api: Api, slug: str) -> None:
    """A viewer sees certificates and their chains, and changes nothing."""
    domain = f"{slug}.example.com"
    await issued(api, domain)
    token = await key_of(stack, workspace="dev", person="victor@example.com", role=Role.VIEWER)
    async with api.with_key(token) as viewer:
        path = f"/v1/certificates/{domain}"
        seen = [await viewer.get(one) for one in (path, "/v1/certificates", f"{path}/chain.pem")]
        refused = [
            await viewer.post(f"{path}/issue", {"challenge": "http-01"}),
            await viewer.post(f"{path}/preflight", {"challenge": "http-01"}),
            *[await viewer.post(f"{path}/{verb}") for verb in ("renew", "halt", "revoke", "key", "records-published")],
            await viewer.post("/v1/certificates:issue", {"requests": [{"domain": domain, "challenge": "http-01"}]}),
            await viewer.post("/v1/certificates:check", {}),
            await viewer.delete(f"/v1/actions/certificate-renewal/{domain}"),
            await viewer.patch(f"/v1/actions/certificate-renewal/{domain}", {"grace": "30d"}),
            await viewer.post(f"/v1/actions/certificate-renewal/{domain}/run"),
        ]

    assert [answer.status for answer in seen] == [200, 200, 200]
    assert all(is_refused(answer, 403, "role_required") for answer in refused)


async def test_nothing_is_issued_for_a_project_that_is_going_away(api: Api, slug: str) -> None:
    """While a project is purged, and after, a certificate for it is refused, and its own is gone."""
    domain = f"{slug}.example.com"
    project = await api.project(slug)
    shown = await issued(api, domain, project=slug)
    await api.schedule(project, slug, "1s")
    await eventually(lambda: _is_gone(api, project), within=40)
    late = await api.post(f"/v1/certificates/other.{domain}/issue", {"challenge": "http-01", "project": project})

    assert shown["project"] == project
    assert (late.status, late.body["code"]) in {(404, "project_not_found"), (409, "project_ending")}
    assert (await api.get(f"/v1/certificates/{domain}")).status == 404
    assert (await api.post(f"/v1/certificates/{domain}/key")).status == 404


async def test_the_receipt_has_as_many_certificates_as_were_announced(stack: Stack, api: Api, slug: str) -> None:
    """What a deletion says that it will remove is what its receipt says was removed, also of one that never came."""
    domain = f"{slug}.example.com"
    project = await api.project(slug)
    await stack.challenges.tell("add-a", host=domain, addresses=["127.0.0.9"])
    await api.post(f"/v1/certificates/{domain}/issue", {"challenge": "http-01", "project": project})
    await eventually(lambda: _has_failed(api, domain), within=30)
    planned = await api.schedule(project, slug, "1s")
    await eventually(lambda: _is_gone(api, project), within=40)
    tombstone = (await api.get(f"/v1/tombstones/{project}")).body
    stated = signing.verify(tombstone["receipt"], (await api.get("/.well-known/jwks.json")).body)
    removed = {line["subsystem"]: line["count"] for line in stated["removed"]}

    assert planned.body["impact"]["certificates"] == removed["certificates"] == 1


async def _has_failed(api: Api, domain: str) -> bool:
    return bool((await show(api, domain))["last_error"])


async def _is_gone(api: Api, project: str) -> bool:
    return (await api.get(f"/v1/tombstones/{project}")).status == 200
