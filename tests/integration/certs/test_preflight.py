"""Pre-flight against real servers: each thing that can be wrong, and what it says to set."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from dns.rdatatype import RdataType

from lifecycle.certs import probes
from lifecycle.certs.configuration import Certificates
from lifecycle.certs.dns import Found, Resolver
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.preflight import Finding, Preflight, Reason, WouldFail, WouldIssue
from lifecycle.certs.probes import Ports, Prober
from lifecycle.dev.bind import HostedZone
from lifecycle.errors import Code, LifecycleError
from tests.integration.certs.authority import expect
from tests.support.dns import Served, served

PEBBLE = ("pebble.letsencrypt.org",)


class Gateway:
    """Answers looks as ours would, on loopback, with IPv4 only unless told otherwise.

    Attributes:
        port: where.
        closed: a port at which nobody listens.
        requests: the hosts that were asked for.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.instead: web.Response | None = None
        self.leads: str | None = None
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.closed = one.getsockname()[1], other.getsockname()[1]

    async def answer(self, request: web.Request) -> web.Response:
        """What was prepared, else what a gateway of ours answers."""
        self.requests.append(request.host)
        if self.leads is not None:
            return web.Response(status=302, headers={"Location": self.leads.format(path=request.path)})
        if self.instead is not None:
            return self.instead
        body = probes.expected_answer(request.match_info["token"])
        return web.Response(status=404) if body is None else web.Response(text=f"{body}\n")


@asynccontextmanager
async def _serving(hosts: tuple[str, ...]) -> AsyncIterator[Gateway]:
    gateway = Gateway()
    app = web.Application()
    app.router.add_get(f"{probes.PATH}{{token}}", gateway.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        for host in hosts:
            await web.TCPSite(runner, host, gateway.port).start()
        yield gateway
    finally:
        await runner.cleanup()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """It listens on IPv4."""
    async with _serving(("127.0.0.1",)) as opened:
        yield opened


@pytest.fixture(scope="module")
async def name_server() -> AsyncIterator[Served]:
    """A BIND with the zones of `tests.support.dns`."""
    async with served() as opened:
        yield opened


async def _checked(
    configuration: Certificates,
    gateway: Gateway | None,
    name: str,
    challenge: ChallengeType = ChallengeType.HTTP_01,
    **options: Any,
) -> WouldIssue | WouldFail:
    ports = Ports(gateway.port, gateway.port) if gateway else Ports()
    kind = "ip" if name.startswith(("127.", "::")) else "dns"
    identifier = Identifier.model_validate({"type": kind, "value": name})
    given = {"caa_identities": PEBBLE, "internal": True, **options}
    return await Preflight(configuration, ports=ports).check(identifier, challenge, **given)


def _only(answer: WouldIssue | WouldFail, reason: Reason) -> Finding:
    failed = expect(WouldFail, answer)
    assert [one.reason for one in failed.findings] == [reason], failed
    assert failed.findings[0].why.endswith(".")
    assert failed.why == failed.findings[0].why
    assert failed.findings[0].do
    return failed.findings[0]


async def test_a_name_that_leads_to_us_would_be_issued(name_server: Served, gateway: Gateway) -> None:
    """When everything is right, what was looked at is listed."""
    answer = expect(WouldIssue, await _checked(name_server.configuration, gateway, "www.corp.test"))

    assert answer.checks == (
        "No CAA record of www.corp.test or above it keeps any CA out.",
        f"Our gateway answers at 127.0.0.1, port {gateway.port}.",
    )
    assert gateway.requests == [f"www.corp.test:{gateway.port}"]


async def test_an_ip_address_is_looked_at_directly(name_server: Served, gateway: Gateway) -> None:
    """A certificate for an address asks nothing of DNS."""
    answer = expect(WouldIssue, await _checked(name_server.configuration, gateway, "127.0.0.1"))

    assert len(answer.checks) == 1


@pytest.mark.parametrize("challenge", [ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01])
async def test_an_aaaa_record_that_leads_nowhere(
    name_server: Served, gateway: Gateway, challenge: ChallengeType
) -> None:
    """CAs that try IPv6 do not fall back, so one good address of two is not enough; a CNAME changes nothing."""
    for name in ("dual.corp.test", "alias.corp.test"):
        answer = await _checked(name_server.configuration, gateway, name, challenge)

        found = _only(answer, Reason.NOT_REACHED)
        assert f"{name} at ::1, port {gateway.port}, cannot be reached" in found.why
        assert "take this AAAA record away" in found.do
        assert any("127.0.0.1" in one for one in expect(WouldFail, answer).checks)


async def test_both_addresses_are_looked_at(name_server: Served) -> None:
    """A name with IPv4 and IPv6 would be issued when both lead to us."""
    async with _serving(("127.0.0.1", "::1")) as gateway:
        expect(WouldIssue, await _checked(name_server.configuration, gateway, "dual.corp.test"))
        expect(WouldIssue, await _checked(name_server.configuration, gateway, "::1"))

    assert len(gateway.requests) == 3


@pytest.mark.parametrize("challenge", [ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01])
async def test_a_closed_port(name_server: Served, gateway: Gateway, challenge: ChallengeType) -> None:
    """It says which port of which address is to be opened."""
    gateway.port = gateway.closed

    found = _only(await _checked(name_server.configuration, gateway, "www.corp.test", challenge), Reason.NOT_REACHED)

    assert f"Open port {gateway.closed} of 127.0.0.1" in found.do


@pytest.mark.parametrize("name", ["missing.corp.test", "text.corp.test"])
async def test_a_name_without_address(name_server: Served, gateway: Gateway, name: str) -> None:
    """A name that does not exist, or has other records only, needs an A record."""
    assert "Set an A record" in _only(await _checked(name_server.configuration, gateway, name), Reason.NO_ADDRESS).do


async def test_a_private_address_is_not_even_looked_at(name_server: Served, gateway: Gateway) -> None:
    """Nobody can make us send requests into our own network by pointing a name there."""
    answer = await _checked(name_server.configuration, gateway, "www.corp.test", internal=False)

    assert "dns-01" in _only(answer, Reason.NOT_PUBLIC).do
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("instead", "text"),
    [
        ({"status": 404}, "answered with HTTP status 404"),
        ({"status": 500}, "answered with HTTP status 500"),
        ({"text": "parked domain"}, "answered with something else"),
        ({"text": "x" * 5_000_000}, "answered with something else"),
    ],
)
async def test_a_name_that_leads_to_somebody_else(
    name_server: Served, gateway: Gateway, instead: dict[str, Any], text: str
) -> None:
    """That somebody answers is not enough: it must be us."""
    gateway.instead = web.Response(**instead)

    assert text in _only(await _checked(name_server.configuration, gateway, "www.corp.test"), Reason.WRONG_ANSWER).why


async def test_what_speaks_no_http(name_server: Served, gateway: Gateway) -> None:
    """Another service at the port is told from a closed one."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    gateway.port = gateway.closed
    server = await asyncio.start_server(greet, "127.0.0.1", gateway.port)
    async with server:
        answer = await _checked(name_server.configuration, gateway, "www.corp.test")

    assert "no answer of HTTP" in _only(answer, Reason.WRONG_ANSWER).why


async def test_a_redirect_is_followed_where_cas_follow(name_server: Served, gateway: Gateway) -> None:
    """A site that leads all of HTTP elsewhere may still prove control there."""
    async with _serving(("127.0.0.1",)) as other:
        gateway.leads = f"http://six.corp.test:{gateway.port}{{path}}"
        # Both listen at the same port, one with IPv4 and the other with IPv6.
        runner = web.AppRunner(_app(other))
        await runner.setup()
        await web.TCPSite(runner, "::1", gateway.port).start()
        try:
            expect(WouldIssue, await _checked(name_server.configuration, gateway, "www.corp.test"))
        finally:
            await runner.cleanup()

    assert other.requests == [f"six.corp.test:{gateway.port}"]


def _app(gateway: Gateway) -> web.Application:
    app = web.Application()
    app.router.add_get(f"{probes.PATH}{{token}}", gateway.answer)
    return app


@pytest.mark.parametrize(
    ("leads", "text"),
    [
        ("http://www.corp.test:22{path}", "only http and https, to ports 80 and 443"),
        ("ftp://www.corp.test{path}", "only http and https"),
        ("http://127.0.0.1{path}", "it is an IP address"),
        ("http://missing.corp.test{path}", "which has no address"),
        ("http://a..b{path}", "a..b is no name"),
        ("{path}", "redirected more than 10 times"),
        ("http://www.corp.test:99999{path}", "no answer of HTTP"),
    ],
)
async def test_a_redirect_that_no_ca_follows(name_server: Served, gateway: Gateway, leads: str, text: str) -> None:
    """Where a CA would stop, so do we, and no redirect leads us into a network that is nobody's business."""
    gateway.leads = leads

    assert text in _only(await _checked(name_server.configuration, gateway, "www.corp.test"), Reason.WRONG_ANSWER).why
    assert len(gateway.requests) <= 11


async def test_a_redirect_into_a_private_network(name_server: Served, gateway: Gateway) -> None:
    """A site in the Internet cannot send us to an address that only we can reach."""
    gateway.leads = "http://six.corp.test{path}"
    prober = Prober(Resolver(name_server.configuration), ports=Ports(gateway.port, 443), internal=False)

    missed = await prober.http("www.corp.test", "127.0.0.1", token=probes.new_token(), answer="x")

    assert missed is not None
    assert "which has an address that is not public" in missed.why


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("other.caa.test", 'CAA records of other.caa.test forbid it: 0 issue "other.example" admits other CAs only'),
        ("below.other.caa.test", "CAA records of other.caa.test"),
        ("nobody.caa.test", "CAA records of nobody.caa.test forbid it"),
        ("*.wild.caa.test", "CAA records of wild.caa.test forbid it"),
        ("account.caa.test", "it admits the account https://ca.example/acct/1 only, and ours is https://ca.example/2"),
        ("method.caa.test", "it admits the challenges dns-01,tls-alpn-01 only, not http-01"),
        ("critical.caa.test", "is critical, and no CA knows it"),
        ("alias.caa.test", 'CAA records of alias.caa.test forbid it: 0 issue "other.example"'),
    ],
)
async def test_caa_that_keeps_the_ca_out(name_server: Served, gateway: Gateway, name: str, text: str) -> None:
    """What the domain's owner forbids is found before the CA refuses, with the record that would allow it."""
    challenge = ChallengeType.DNS_01 if name.startswith("*.") else ChallengeType.HTTP_01
    account = "https://ca.example/2"

    failed = expect(WouldFail, await _checked(name_server.configuration, gateway, name, challenge, account=account))

    found = next(one for one in failed.findings if one.reason is Reason.CAA)
    assert text in found.why
    assert "CAA 0 issue" in found.do
    assert '"pebble.letsencrypt.org"' in found.do


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("inherits.caa.test", {}),
        ("account.caa.test", {"account": "https://ca.example/acct/1"}),
        ("wild.caa.test", {}),
        ("other.caa.test", {"caa_identities": ()}),
        ("other.caa.test", {"caa_identities": ("other.example", "further.example")}),
    ],
)
async def test_caa_that_admits_the_ca(
    name_server: Served, gateway: Gateway, name: str, options: dict[str, Any]
) -> None:
    """Records higher up count, and those that admit us are no obstacle."""
    expect(WouldIssue, await _checked(name_server.configuration, gateway, name, **options))


@pytest.mark.parametrize("name", ["dyn.test", "*.dyn.test", "www.corp.test", "*.two.corp.test"])
async def test_a_zone_of_ours_would_be_issued(name_server: Served, name: str) -> None:
    """DNS-01 asks nothing of addresses and ports, and changes nothing while it looks."""
    before = await _serial(name_server)

    answer = expect(
        WouldIssue, await _checked(name_server.configuration, None, name, ChallengeType.DNS_01, internal=False)
    )

    assert any("We may publish TXT records" in one for one in answer.checks)
    assert any("All name servers of" in one for one in answer.checks)
    assert await _serial(name_server) == before


async def test_a_record_that_a_person_sets_needs_no_zone_of_ours(name_server: Served) -> None:
    """Only that its name servers answer is looked at, and which record it is is said."""
    answer = await _checked(
        Certificates(resolvers=(name_server.bind.address,)),
        None,
        "www.corp.test",
        ChallengeType.DNS_01,
        by_person=True,
    )

    # Without the zone in the file, its server is looked for at port 53, where it is not.
    failed = expect(WouldFail, answer)
    assert [one.reason for one in failed.findings] == [Reason.NAME_SERVERS]
    assert "The record to set is www.corp.test.acme.test." in failed.checks


async def _serial(name_server: Served) -> str:
    found = expect(Found, await Resolver(name_server.configuration).ask("dyn.test", RdataType.SOA))
    return found.records[0].to_text()


@pytest.mark.parametrize(
    ("name", "reason", "text"),
    [
        ("corp.test", Reason.NO_ZONE, "No zone of ours holds _acme-challenge.corp.test"),
        ("lost.corp.test", Reason.NO_ZONE, "where _acme-challenge.lost.corp.test leads"),
        ("deep.dyn.test", Reason.REFUSED, "does not let the key dyn-key change TXT"),
    ],
)
async def test_a_zone_that_we_may_not_change(name_server: Served, name: str, reason: Reason, text: str) -> None:
    """The missing permission shows before an order does."""
    answer = await _checked(name_server.configuration, None, name, ChallengeType.DNS_01)

    assert text in _only(answer, reason).why


async def test_all_that_is_wrong_is_said_at_once(name_server: Served, gateway: Gateway) -> None:
    """Nobody has to mend one thing to be told of the next."""
    gateway.port = gateway.closed

    failed = expect(WouldFail, await _checked(name_server.configuration, gateway, "nobody.caa.test"))

    assert [one.reason for one in failed.findings] == [Reason.CAA, Reason.NOT_REACHED]


async def test_credentials_that_are_missing(name_server: Served, tmp_path: Path) -> None:
    """A key file that is not there is told from a zone that is not ours."""
    zone = name_server.zone("dyn.test", "dyn-key").model_copy(update={"key_file": tmp_path / "gone"})
    configuration = Certificates(resolvers=(name_server.bind.address,), zone=(zone,))

    answer = await _checked(configuration, None, "dyn.test", ChallengeType.DNS_01)

    assert str(tmp_path / "gone") in _only(answer, Reason.NO_CREDENTIALS).why


async def test_a_provider_that_is_away(name_server: Served) -> None:
    """A primary that cannot be reached is found, although the zone is served."""
    zone = name_server.zone("acme.test", "acme-key").model_copy(update={"server": "127.0.0.1:1"})
    configuration = Certificates(resolvers=(name_server.bind.address,), zone=(zone,))

    failed = expect(WouldFail, await _checked(configuration, None, "www.corp.test", ChallengeType.DNS_01))

    # Its only name server is at the same address, and is asked at the same port.
    assert [one.reason for one in failed.findings] == [Reason.PROVIDER, Reason.NAME_SERVERS]


async def test_a_name_server_that_does_not_know_the_zone() -> None:
    """One lame server of two is found: a CA may ask either."""
    zone = HostedZone("dyn.test", ("@ NS ns2", "ns2 A 127.0.0.2"), "grant dyn-key name _acme-challenge.dyn.test. TXT;")
    async with served(zones=(HostedZone("."), zone)) as name_server:
        answer = await _checked(name_server.configuration, None, "dyn.test", ChallengeType.DNS_01)

    assert "127.0.0.2" in _only(answer, Reason.NAME_SERVERS).why


async def test_a_zone_that_lies_elsewhere_in_dns() -> None:
    """Values that we publish where nobody looks would prove nothing."""
    inner = HostedZone("inner.dyn.test")
    outer = HostedZone("dyn.test", update_policy="grant dyn-key subdomain dyn.test. TXT;")
    async with served(zones=(HostedZone("."), outer, inner)) as other:
        answer = await _checked(other.configuration, None, "inner.dyn.test", ChallengeType.DNS_01)

    assert "in the zone inner.dyn.test, which is not our zone dyn.test" in expect(WouldFail, answer).why


@pytest.mark.parametrize(
    ("name", "challenge"), [("*.dyn.test", ChallengeType.HTTP_01), ("127.0.0.1", ChallengeType.DNS_01)]
)
async def test_what_no_challenge_can_prove(name_server: Served, name: str, challenge: ChallengeType) -> None:
    """A wildcard takes dns-01, and an address takes another."""
    with pytest.raises(LifecycleError) as refused:
        await _checked(name_server.configuration, None, name, challenge)

    assert refused.value.code is Code.CERTIFICATE_CHALLENGE_UNFIT
