"""TLS in the gateway: how visitors come in, and how a CA proves a domain beside them (TLS-ALPN-01)."""

import asyncio
import json
import ssl
import warnings

import pytest

from lifecycle import clock
from lifecycle.certs.acme.proofs import tls_alpn_certificate
from lifecycle.certs.names import Identifier
from lifecycle.deploy.gateway import GatewayDownError, Tls, UnusableCertificateError, write_configuration
from tests.integration.gateway.conftest import Site
from tests.integration.gateway.issued import bundle, handshake, serial, visitor
from tests.support.waiting import eventually

_HOST = "www.example.com"
_PROOF = "acme-tls/1"


async def _get(site: Site, host: str, *, source: str = "127.0.0.1") -> tuple[int, dict[str, str]]:
    """Status of a GET with TLS, and the headers that arrived."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.tls, ssl=visitor(), server_hostname=host, local_addr=(source, 0)
    )
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status = int(head.split()[1])
    return status, json.loads(body)["headers"] if status == 200 else {}


async def _set_up(site: Site) -> None:
    await site.serve(_HOST, "dep_blue", site.addresses["blue"], generation=1)
    await site.gateway.certificates.install(bundle(_HOST))


async def test_a_deployment_is_served_with_tls(site: Site) -> None:
    """A visitor with TLS comes to the same deployment, which learns how, and from which address."""
    await _set_up(site)
    status, headers = await _get(site, _HOST, source="127.0.0.7")

    assert status == 200
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-for"] == "127.0.0.7"
    assert headers["x-forwarded-host"] == _HOST
    assert await site.name(_HOST) == "blue"  # and without TLS; nobody is sent elsewhere


async def test_a_host_without_certificate_is_answered(site: Site) -> None:
    """Whoever goes on in spite of the default certificate finds the page for unknown hosts."""
    assert (await _get(site, "unknown.example.com"))[0] == 404


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(("h2", "http/1.1"), "h2"), (("http/1.1", "h2"), "h2"), (("http/1.1",), "http/1.1"), ((), None)],
)
async def test_http_2_and_http_1(site: Site, offered: tuple[str, ...], chosen: str | None) -> None:
    """HTTP/2 for those who can, HTTP/1.1 for all others."""
    await _set_up(site)

    assert (await handshake(site.tls, _HOST, *offered)).protocol == chosen


async def test_old_tls_is_refused(site: Site) -> None:
    """TLS 1.3 and 1.2 are spoken, older versions are not."""
    await _set_up(site)
    seen = {}
    for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = visitor()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the old one
            context.minimum_version = version
            context.maximum_version = version
        try:
            seen[version.name] = (await handshake(site.tls, _HOST, context=context)).version
        except OSError:
            seen[version.name] = None

    assert seen == {"TLSv1_1": None, "TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}


async def test_a_proof_beside_visitors(site: Site) -> None:
    """While a CA is shown the proof for a host, its visitors get their certificate, and no request is lost."""
    ordinary = bundle(_HOST)
    await site.serve(_HOST, "dep_blue", site.addresses["blue"], generation=1)
    await site.gateway.certificates.install(ordinary)
    statuses: list[int] = []
    shown, proofs = set(), []
    done = asyncio.Event()

    async def visit() -> None:
        while not done.is_set():
            statuses.append((await _get(site, _HOST))[0])
            shown.add((await handshake(site.tls, _HOST, "h2", "http/1.1"))[:2])

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(visit())
        for _ in range(20):
            proof = bundle(_HOST)
            await site.gateway.certificates.answer_challenge(_HOST, proof.pem)
            so_far = len(statuses)
            await eventually(lambda least=so_far + 3: len(statuses) > least, within=10)  # type: ignore[misc]
            proofs.append(((await handshake(site.tls, _HOST, _PROOF))[:2], (serial(proof), _PROOF)))
            await site.gateway.certificates.withdraw_challenge(_HOST)
            with pytest.raises(ssl.SSLError):
                await handshake(site.tls, _HOST, _PROOF)
        done.set()

    assert [one for one in proofs if one[0] != one[1]] == []
    assert set(statuses) == {200}
    assert shown == {(serial(ordinary), "h2")}


async def test_the_proof_that_a_ca_asks_for(site: Site) -> None:
    """The certificate of the challenge arrives as RFC 8737 wants it, for a host that has no other one."""
    certificate, key = tls_alpn_certificate(Identifier(type="dns", value=_HOST), "token.thumbprint", now=clock.now())
    await site.gateway.certificates.answer_challenge(_HOST, certificate + key)
    context = visitor()
    context.set_alpn_protocols([_PROOF])
    _, writer = await asyncio.open_connection("127.0.0.1", site.tls, ssl=context, server_hostname=_HOST)
    found = writer.get_extra_info("ssl_object")
    der, protocol = found.getpeercert(binary_form=True), found.selected_alpn_protocol()
    writer.close()

    assert protocol == _PROOF
    assert der == ssl.PEM_cert_to_DER_cert(certificate.decode())
    assert await site.serial(_HOST) is None
    # Who offers other protocols as well is a visitor.
    for offered in ((_PROOF, "h2"), ("http/1.1", _PROOF)):
        assert (await handshake(site.tls, _HOST, *offered)).protocol in {"h2", "http/1.1"}


async def test_a_proof_survives_a_restart(site: Site) -> None:
    """The gateway is killed while a CA is about to look: the proof is there when it is back."""
    proof = bundle(_HOST)
    await site.gateway.certificates.answer_challenge(_HOST, proof.pem)
    await site.haproxy.child.kill()
    with pytest.raises(GatewayDownError):
        await site.gateway.certificates.answer_challenge("b.example.com", bundle("b.example.com").pem)
    await site.haproxy.start_alone()

    assert (await handshake(site.tls, _HOST, _PROOF))[:2] == (serial(proof), _PROOF)
    assert (await handshake(site.tls, "b.example.com", _PROOF)).protocol == _PROOF
    for host in (_HOST, "b.example.com", "never.example.com"):
        await site.gateway.certificates.withdraw_challenge(host)
    with pytest.raises(ssl.SSLError):
        await handshake(site.tls, _HOST, _PROOF)


@pytest.mark.parametrize("hostname", ["*.example.com\nshow info", "a b", "", "../x"])
async def test_a_proof_for_what_is_no_host_is_refused(site: Site, hostname: str) -> None:
    """However a name is chosen, it cannot become a command to the gateway or a line in its files."""
    with pytest.raises(UnusableCertificateError):
        await site.gateway.certificates.answer_challenge(hostname, bundle(_HOST).pem)


async def test_without_proofs_visitors_are_not_handed_over(site: Site) -> None:
    """Set up without TLS-ALPN-01, visitors are served as well, and a proof is refused with the reason."""
    await site.haproxy.child.stop()
    write_configuration(
        site.haproxy.folder,
        listen=f"127.0.0.1:{site.haproxy.port}",
        api_address=site.addresses["api"],
        tls=Tls(f"127.0.0.1:{site.tls}", challenges=False),
        max_connections=200,
    )
    await site.haproxy.start_alone()
    await _set_up(site)
    status, headers = await _get(site, _HOST, source="127.0.0.7")

    assert (status, headers["x-forwarded-for"]) == (200, "127.0.0.7")
    assert await site.serial(_HOST) is not None
    with pytest.raises(GatewayDownError, match="another configuration"):
        await site.gateway.certificates.answer_challenge(_HOST, bundle(_HOST).pem)


async def test_a_reload_loses_no_visitor_with_tls(site: Site) -> None:
    """A reload, as more pools need it, fails no request of visitors with TLS either."""
    await _set_up(site)
    statuses: list[int] = []
    done = asyncio.Event()

    async def visit() -> None:
        while not done.is_set():
            statuses.append((await _get(site, _HOST))[0])

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(visit())
        for number in range(3):
            targets = [f"127.0.0.1:{port}" for port in range(7000, 7004 + 4 * number)]
            await site.serve("many.example.com", "dep_many", *targets, generation=1 + number, project="prj_many")
        await eventually(lambda: len(statuses) > 20, within=30)
        done.set()

    assert set(statuses) == {200}
