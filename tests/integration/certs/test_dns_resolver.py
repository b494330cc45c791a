"""Questions to DNS: what is found, and how each way of not finding is told from the others."""

import asyncio
import base64
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TXT import TXT

from lifecycle.certs.configuration import Certificates
from lifecycle.certs.dns import (
    Absent,
    Found,
    NameServers,
    NotVisible,
    Publisher,
    Resolver,
    Trouble,
    Unpublishable,
    Unreachable,
    Unresolved,
    Visible,
    rfc2136,
)
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.preflight import Preflight, Reason, WouldFail, WouldIssue
from lifecycle.certs.probes import Ports
from lifecycle.dev import ports
from lifecycle.dev.acme import ChallengeServer
from lifecycle.dev.bind import Bind, HostedZone
from tests.integration.certs.authority import NEWER, expect
from tests.support.dns import ZONES, Served, own_port_53, served
from tests.support.newer_pebble import needed


@pytest.fixture(scope="module")
async def name_server() -> AsyncIterator[Served]:
    """A BIND with the zones of `tests.support.dns`."""
    async with served() as opened:
        yield opened


@pytest.fixture
def resolver(name_server: Served) -> Resolver:
    """Asks it."""
    return Resolver(name_server.configuration)


@pytest.fixture(params=[None, NEWER], ids=["installed", "newer"])
async def challenges(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[ChallengeServer]:
    """Pebble's challenge server, which knows no zones and can be told to fail."""
    program = request.param / "pebble-challtestsrv" if request.param else None
    if program is not None:
        needed()
    free = ports.assign(("challenge_management", "challenge_dns"), remembered=tmp_path / "ports.json", given={})
    server = ChallengeServer(free, log=tmp_path / "challenges.log", program=program)
    try:
        await server.start()
        yield server
    finally:
        await server.child.stop()


@pytest.fixture
def silent() -> Iterator[str]:
    """`host:port` of somebody who takes questions and never answers."""
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def test_records_are_found_through_cnames(resolver: Resolver) -> None:
    """Whatever a name leads to is found, and where it led is said."""
    found = expect(Found, await resolver.ask("Alias.Corp.Test.", RdataType.AAAA))
    text = expect(Found, await resolver.ask("text.corp.test", RdataType.TXT))

    assert (found.name, found.canonical) == ("alias.corp.test", "dual.corp.test")
    assert await resolver.addresses("alias.corp.test") == ("::1", "127.0.0.1")
    assert [b"".join(one.strings) for one in text.of(TXT)] == [b"in two parts"]


async def test_what_is_not_there_is_told_from_what_has_other_records(resolver: Resolver) -> None:
    """NXDOMAIN and "no such record" are both answers, and not the same."""
    assert await resolver.ask("missing.corp.test", RdataType.A) == Absent(
        "missing.corp.test", "missing.corp.test", exists=False
    )
    assert await resolver.ask("text.corp.test", RdataType.A) == Absent("text.corp.test", "text.corp.test", exists=True)
    assert await resolver.ask("_acme-challenge.two.corp.test", RdataType.TXT) == Absent(
        "_acme-challenge.two.corp.test", "two.corp.test.acme.test", exists=False
    )


async def test_cnames_that_lead_round(challenges: ChallengeServer) -> None:
    """A mistake in somebody's zone ends in a sentence, not in a hang; nothing can be published there."""
    await challenges.tell("set-cname", host="a.loop.test.", target="b.loop.test.")
    await challenges.tell("set-cname", host="b.loop.test.", target="a.loop.test.")
    publisher = Publisher(Certificates(resolvers=(challenges.dns,)))

    answer = expect(Unresolved, await publisher.resolver.ask("a.loop.test", RdataType.TXT))
    verdict = expect(Unpublishable, await publisher.publish("a.loop.test", "proof"))

    assert answer == Unresolved("a.loop.test", Trouble.LOOP, "The CNAMEs from a.loop.test lead round and round.")
    assert "a.loop.test, whose CNAMEs lead round and round" in verdict.why


async def test_cnames_that_lead_a_resolver_round(resolver: Resolver) -> None:
    """Resolvers that follow CNAMEs themselves say SERVFAIL in the end, which is handed on with their reason."""
    answer = expect(Unresolved, await resolver.ask("loop.corp.test", RdataType.A))

    assert answer.trouble in {Trouble.LOOP, Trouble.SERVFAIL}
    assert "loop.corp.test" in answer.why


async def test_what_is_no_name(resolver: Resolver) -> None:
    """A text from outside that cannot be a name is an answer too."""
    answer = expect(Unresolved, await resolver.ask("a..b", RdataType.A))

    assert "a..b is no name" in answer.why


async def test_the_authoritative_server_is_found(name_server: Served, resolver: Resolver) -> None:
    """By SOA upwards, NS, and its address; at the port that the configuration has for it."""
    found = expect(NameServers, await resolver.name_servers("a.b.c.acme.test"))

    assert found.zone == "acme.test"
    assert [(one.name, [str(at) for at in one.endpoints]) for one in found.servers] == [
        ("ns.acme.test", [name_server.bind.address])
    ]


async def test_a_resolver_without_zones_stands_in(challenges: ChallengeServer) -> None:
    """Pebble's challenge server knows names and no zones, so it is asked itself."""
    publisher = Publisher(Certificates(resolvers=(challenges.dns,)))
    name = "_acme-challenge.any.test"
    await challenges.tell("set-txt", host=f"{name}.", value="proof")

    found = expect(NameServers, await publisher.resolver.name_servers(name))

    assert (found.zone, [one.is_authoritative for one in found.servers]) == (None, [False])
    expect(Visible, await publisher.is_visible(name, "proof"))
    expect(NotVisible, await publisher.is_visible(name, "other"))


async def test_preflight_with_a_resolver_without_zones(challenges: ChallengeServer) -> None:
    """Where everything is at one address, as with Pebble, pre-flight works too."""
    closed = ports.assign(("closed",), remembered=challenges.child.log.with_suffix(".json"), given={})["closed"]
    preflight = Preflight(Certificates(resolvers=(challenges.dns,)), ports=Ports(closed, closed))

    def check(challenge: ChallengeType, *, by_person: bool = False) -> Awaitable[WouldIssue | WouldFail]:
        name = Identifier(value="shop.example.test")
        return preflight.check(name, challenge, caa_identities=("a",), internal=True, by_person=by_person)

    by_web = expect(WouldFail, await check(ChallengeType.HTTP_01))
    by_dns = expect(WouldIssue, await check(ChallengeType.DNS_01, by_person=True))

    assert [(one.reason, "127.0.0.1" in one.why) for one in by_web.findings] == [(Reason.NOT_REACHED, True)]
    assert "The record to set is _acme-challenge.shop.example.test." in by_dns.checks


async def test_servfail_is_said(challenges: ChallengeServer) -> None:
    """A server that cannot tell is no "not there"; and what may be published is not known then."""
    await challenges.tell("set-servfail", host="broken.test.")
    resolver = Resolver(Certificates(resolvers=(challenges.dns,)))

    answer = expect(Unresolved, await resolver.ask("broken.test", RdataType.A))

    assert answer.trouble is Trouble.SERVFAIL
    assert "answered SERVFAIL" in answer.why
    checked = await Preflight(Certificates(resolvers=(challenges.dns,))).check(
        Identifier(value="broken.test"), ChallengeType.HTTP_01, caa_identities=("a",)
    )
    assert {one.reason for one in expect(WouldFail, checked).findings} == {Reason.UNRESOLVED}


async def test_silence_ends_in_time(silent: str) -> None:
    """A question takes the time that it was given, and no more."""
    resolver = Resolver(Certificates(resolvers=(silent,)), within=timedelta(seconds=1))
    started = asyncio.get_running_loop().time()

    answer = expect(Unresolved, await resolver.ask("a.test", RdataType.A))

    assert answer.trouble is Trouble.TIMEOUT
    assert asyncio.get_running_loop().time() - started < 3
    publisher = Publisher(Certificates(resolvers=(silent,)), resolver=resolver)
    assert "did not answer in time" in expect(Unreachable, await publisher.publish("a.test", "proof")).why
    assert "did not answer in time" in expect(Unreachable, await publisher.is_visible("a.test", "proof")).why


async def test_another_resolver_helps_out(name_server: Served, silent: str) -> None:
    """One of several resolvers may be away."""
    resolver = Resolver(Certificates(resolvers=("127.0.0.1:1", silent, name_server.bind.address)))

    expect(Found, await resolver.ask("www.corp.test", RdataType.A))


async def test_nobody_at_the_resolver() -> None:
    """It is said who cannot be reached."""
    answer = expect(Unresolved, await Resolver(Certificates(resolvers=("127.0.0.1:1",))).ask("a.test", RdataType.A))

    assert (answer.trouble, "127.0.0.1:1" in answer.why) == (Trouble.TIMEOUT, True)


async def test_a_resolver_given_by_name(name_server: Served) -> None:
    """The file may say localhost."""
    address = name_server.bind.address.replace("127.0.0.1", "localhost")

    expect(Found, await Resolver(Certificates(resolvers=(address,))).ask("www.corp.test", RdataType.A))


async def test_a_broken_signature_is_said_to_be_one(name_server: Served, tmp_path: Path) -> None:
    """SERVFAIL because of DNSSEC needs another hand than any other: the zone's."""
    free = ports.assign(("dns",), remembered=tmp_path / "ports.json", given={})
    port = name_server.bind.address.rpartition(":")[2]
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    extra = f"""
        trust-anchors {{ "corp.test" static-key 257 3 13 "{key}"; }};
        zone "corp.test" {{ type forward; forward only; forwarders {{ 127.0.0.1 port {port}; }}; }};
    """
    validating = Bind(
        tmp_path / "bind", free, log=tmp_path / "named.log", options=("dnssec-validation yes;",), extra=extra
    )
    try:
        await validating.start()
        configuration = Certificates(resolvers=(validating.address,), zone=name_server.configuration.zone)

        answer = expect(Unresolved, await Resolver(configuration).ask("www.corp.test", RdataType.A))
        checked = await Preflight(configuration).check(
            Identifier(value="corp.test"), ChallengeType.DNS_01, caa_identities=("a",)
        )
    finally:
        await validating.child.stop()

    assert answer.trouble is Trouble.DNSSEC, answer
    findings = expect(WouldFail, checked).findings
    assert {one.reason for one in findings} == {Reason.DNSSEC}, findings
    assert "DS record" in findings[0].do


async def test_every_name_server_must_have_the_value() -> None:
    """A CA may ask any of them, so the last one counts; and it is said which one it is."""
    address = own_port_53()
    policy = "grant dyn-key name _acme-challenge.dyn.test. TXT;"
    both = ("@ NS ns2", f"ns2 AAAA {address}")
    record = "_acme-challenge.dyn.test"
    first = (*ZONES[:1], HostedZone("dyn.test", both, policy))
    async with (
        served(zones=first) as primary,
        served(zones=(HostedZone("dyn.test", both, policy),), six_port=53) as secondary,
    ):
        publisher = Publisher(primary.configuration)
        await publisher.publish(record, "proof")

        behind = expect(NotVisible, await publisher.is_visible(record, "proof"))
        await rfc2136.add(secondary.zone("dyn.test", "dyn-key"), record, "proof")
        seen = expect(Visible, await publisher.is_visible(record, "proof"))

    assert behind.why == f"ns2.dyn.test has no TXT record {record} yet."
    assert seen.servers == ("ns.dyn.test", "ns2.dyn.test")
