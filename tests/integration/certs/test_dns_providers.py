"""dns-lexicon for real: its `ddns` provider needs no Internet, so it changes a BIND of ours."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from lifecycle.certs.configuration import Certificates, Zone
from lifecycle.certs.dns import NotVisible, Published, Publisher, Reason, Removed, Unpublishable, Unreachable, Visible
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.preflight import Preflight, WouldIssue
from lifecycle.dev.bind import HostedZone
from tests.integration.certs.authority import expect
from tests.support.dns import Served, own_port_53, served

NAME = "_acme-challenge.dyn.test"


@pytest.fixture(scope="module")
async def name_server() -> AsyncIterator[tuple[Served, str]]:
    """A BIND at port 53 of ::1, for `ddns` knows no other port."""
    address = own_port_53()
    policy = f"grant dyn-key name {NAME}. TXT;"
    zones = (HostedZone("."), HostedZone("dyn.test", update_policy=policy, address=address))
    async with served(zones=zones, six_port=53) as opened:
        yield opened, address


def _configured(server: Served, lines: str, *, provider: str = "ddns") -> Certificates:
    file = server.folder / "credentials"
    file.write_text(lines)
    zone = Zone(name="dyn.test", provider=provider, credentials_file=file)
    return Certificates(resolvers=(server.bind.address,), zone=(zone,))


def _secret(server: Served) -> str:
    return server.bind.key_file("dyn-key").read_text().strip()


async def test_a_value_is_published_and_removed_through_dns_lexicon(name_server: tuple[Served, str]) -> None:
    """Other providers do what RFC 2136 does: values side by side, seen, and taken away one by one."""
    server, address = name_server
    lines = f"# of the test\nauth_token=hmac-sha256:dyn-key:{_secret(server)}\nddns_server={address}\nttl=60\n"
    publisher = Publisher(_configured(server, lines))

    for value in ("one", "two", "two"):
        assert expect(Published, await publisher.publish(NAME, value)).zone == "dyn.test"
    expect(Visible, await publisher.is_visible(NAME, "one"))
    expect(Removed, await publisher.remove(NAME, "dyn.test", "one"))
    expect(Removed, await publisher.remove(NAME, "dyn.test", "one"))

    expect(NotVisible, await publisher.is_visible(NAME, "one"))
    expect(Visible, await publisher.is_visible(NAME, "two"))


async def test_a_zone_of_dns_lexicon_would_be_issued(name_server: tuple[Served, str]) -> None:
    """Pre-flight looks at such a zone too, and changes nothing."""
    server, address = name_server
    lines = f"auth_token=hmac-sha256:dyn-key:{_secret(server)}\nddns_server={address}\n"

    checked = await Preflight(_configured(server, lines)).check(
        Identifier(value="*.dyn.test"), ChallengeType.DNS_01, caa_identities=("a",)
    )

    expect(WouldIssue, checked)


async def test_what_a_provider_raises_is_a_verdict_without_secrets(name_server: tuple[Served, str]) -> None:
    """Whatever goes wrong there comes back as a sentence, and no part of the credentials is in it."""
    server, address = name_server
    wrong = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    lines = f"auth_token=hmac-sha256:dyn-key:{wrong}\nddns_server={address}\n"

    answer = await Publisher(_configured(server, lines)).publish(NAME, "proof")

    assert "ddns failed" in expect(Unreachable, answer).why
    assert wrong not in repr(answer)
    # This one says in its error what it could not take apart.
    answer = await Publisher(_configured(server, f"auth_token={wrong}:x:y:z\nddns_server=a\n")).publish(NAME, "proof")
    assert wrong not in repr(expect(Unreachable, answer))


@pytest.mark.parametrize(
    ("provider", "lines", "text"),
    [
        ("ddns", "", "credentials is empty"),
        ("ddns", "# nothing\nauth_token\n", "line 2 of"),
        ("unheard", "a=b", "dns-lexicon has no provider unheard"),
        ("route53", "a=b", "install dns-lexicon[route53]"),
    ],
)
async def test_credentials_are_looked_at_before_the_ca_is_asked(
    name_server: tuple[Served, str], provider: str, lines: str, text: str
) -> None:
    """Each mistake in the files has its sentence."""
    answer = await Publisher(_configured(name_server[0], lines, provider=provider)).publish(NAME, "proof")

    verdict = expect(Unpublishable, answer)
    assert verdict.reason is Reason.NO_CREDENTIALS
    assert text in verdict.why


async def test_a_zone_without_credentials(name_server: tuple[Served, str], tmp_path: Path) -> None:
    """No file, and one that is not there."""
    server, _ = name_server
    for zone, text in (
        (Zone(name="dyn.test", provider="ddns"), "lacks its credentials_file"),
        (Zone(name="dyn.test", provider="ddns", credentials_file=tmp_path / "gone"), "cannot be read"),
    ):
        configuration = Certificates(resolvers=(server.bind.address,), zone=(zone,))
        assert text in expect(Unpublishable, await Publisher(configuration).publish(NAME, "proof")).why


async def test_a_provider_that_refuses(name_server: tuple[Served, str]) -> None:
    """What the provider itself calls a refusal is none that heals."""
    server, _ = name_server
    token = f"auth_token=hmac-sha256:dyn-key:{_secret(server)}\n"

    answer = await Publisher(_configured(server, token)).publish(NAME, "proof")

    assert "No DDNS server provided" in expect(Unpublishable, answer).why


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, Unpublishable, "refuses to change the zone dyn.test: HTTP status 401"),
        (404, Unpublishable, "HTTP status 404"),
        (429, Unreachable, "HTTP status 429"),
        (503, Unreachable, "HTTP status 503"),
        (None, Unreachable, "powerdns cannot be reached (ConnectionError)"),
    ],
)
async def test_an_outage_is_told_from_a_refusal(
    name_server: tuple[Served, str], status: int | None, kind: type[Unpublishable | Unreachable], text: str
) -> None:
    """What a provider's interface answers decides whether to try again; its secret is in no sentence."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status or 500)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1] if status else 1
    lines = f"auth_token=very-secret\npdns_server=http://127.0.0.1:{port}/very-secret\n"
    try:
        answer = await Publisher(_configured(name_server[0], lines, provider="powerdns")).publish(NAME, "proof")
    finally:
        await runner.cleanup()

    assert text in expect(kind, answer).why
    assert "very-secret" not in repr(answer)
