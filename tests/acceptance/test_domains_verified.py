"""A domain of one's own where domains are verified: from `lifecycle domain add` to a page over HTTPS."""

import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import pytest

from lifecycle.dev.stack import Stack
from tests.support import shop
from tests.support.shell import Shell
from tests.support.shop import Shop
from tests.support.waiting import eventually

SETTINGS = {
    "LIFECYCLE_DOMAINS_VERIFY": "true",
    "LIFECYCLE_GATEWAY_ADDRESSES": "203.0.113.10,2001:db8::10",
    "LIFECYCLE_DEPLOY_CNAME_TARGET": "cname.lifecycle.example",
}


class Owner(NamedTuple):
    """Somebody with a project, a shell, and power over the DNS of a domain."""

    stack: Stack
    shell: Shell
    shop: Shop
    host: str


@pytest.fixture(scope="module")
async def verifying() -> AsyncIterator[Stack]:
    """A stack of our own that verifies domains."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-domains-"))
    running = Stack(root / "s", settings=SETTINGS)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        shutil.rmtree(root)


@pytest.fixture
async def owner(verifying: Stack, slug: str) -> AsyncIterator[Owner]:
    """A project with something live, and a domain that nobody has added yet."""
    async with shop.client(verifying) as api:
        opened = await Shop.opened(verifying, api, slug)
        await opened.deploy("v1")
        yield Owner(verifying, Shell(verifying), opened, f"www.{slug}.example")


async def test_from_the_record_that_i_copy_to_a_page_over_https(owner: Owner) -> None:
    """I copy one line into my DNS; the domain is verified, served, and gets its certificate without my asking."""
    project, host = owner.shop.slug, owner.host
    added = owner.shell.well("domain", "add", project, host)
    unproved = owner.shell.run("domain", "verify", project, host)
    rows = {line.split()[0]: line.split() for line in added.splitlines() if line.startswith(("TXT", "CNAME"))}
    await owner.stack.challenges.tell("set-cname", host=f"{rows['CNAME'][1]}.", target=f"{rows['CNAME'][2]}.")
    proved = owner.shell.well("domain", "verify", project, host)
    listed = owner.shell.well("domain", "list", project)
    page = await eventually(lambda: _page(owner), within=40)
    removed = owner.shell.well("domain", "remove", project, host)
    gone = await owner.shop.visit(host=host)

    assert added.startswith(f"Added: {host} follows production of {project} once it is verified.")
    assert rows["TXT"][1] == f"_lifecycle-challenge.{host}"
    assert rows["CNAME"][1] == host
    assert f"lifecycle domain verify {project} {host}" in added
    assert unproved.returncode == 1
    assert "It leads to 127.0.0.1, which is not ours." in unproved.stdout
    assert "verified" in proved
    assert f"A CNAME leads to {rows['CNAME'][2]}." in proved
    assert [line.split()[1:4] for line in listed.splitlines() if line.startswith(host)] == [
        ["custom", "production", "verified"]
    ]
    assert page == "v1"
    assert removed.startswith("Removed: ")
    assert gone.status == 404


async def test_a_certificate_takes_a_domain_that_is_proved(owner: Owner) -> None:
    """Our gateway answers for everybody, so nobody gets a certificate for what they have not proved to be theirs."""
    project, host = owner.shop.slug, owner.host
    target = owner.shell.json("domain", "add", project, host)["records"][1]["value"]
    refused = owner.shell.run("cert", "issue", host, "--no-wait")
    await owner.stack.challenges.tell("set-cname", host=f"{host}.", target=f"{target}.")
    owner.shell.well("domain", "verify", project, host)
    below = owner.shell.run("cert", "issue", f"api.{host}", "--no-wait")
    above = owner.shell.run("cert", "issue", host.removeprefix("www."), "--no-wait")

    assert (refused.returncode, above.returncode) == (2, 2)
    assert f"Nobody of this workspace has proved here that {host} is theirs." in refused.stderr
    assert below.returncode == 0, below.stderr


async def test_what_others_have_is_asked_for_by_txt(owner: Owner) -> None:
    """The table says that the TXT record is needed and why; nothing moves until it is set."""
    project, host, other = owner.shop.slug, owner.host, f"{owner.shop.slug}-b"
    owner.shell.well("project", "create", other)
    target = owner.shell.json("domain", "add", project, host)["records"][1]["value"]
    await owner.stack.challenges.tell("set-cname", host=f"{host}.", target=f"{target}.")
    owner.shell.well("domain", "verify", project, host)
    added = owner.shell.well("domain", "add", other, host)
    text = next(line.split() for line in added.splitlines() if line.startswith("TXT"))
    waiting = owner.shell.run("domain", "verify", other, host)
    still = await owner.shop.visit(host=host)
    await owner.stack.challenges.tell("set-txt", host=f"{text[1]}.", value=text[2])
    taken = owner.shell.well("domain", "verify", other, host)
    lost = owner.shell.well("domain", "show", project, host)

    assert "Another project has this domain or asks for it, so the TXT record is needed" in added
    assert (waiting.returncode, still.text) == (1, "v1")
    assert "verified" in taken
    assert "lost" in lost
    assert "Another project proved with a TXT record that it controls the domain." in lost


async def test_a_registered_domain_is_shown_the_addresses_of_the_gateway(owner: Owner) -> None:
    """Where DNS allows no CNAME I am shown A and AAAA; both must lead here, and the TXT record says for whom."""
    project, host = owner.shop.slug, f"{owner.shop.slug}.example"
    records = owner.shell.json("domain", "add", project, host)["records"]
    advice = owner.shell.well("domain", "add", project, host)
    await owner.stack.challenges.tell("add-a", host=f"{host}.", addresses=["203.0.113.10"])
    await owner.stack.challenges.tell("add-aaaa", host=f"{host}.", addresses=["2001:db8::bad"])
    half = owner.shell.run("domain", "verify", project, host)
    await owner.stack.challenges.tell("clear-aaaa", host=f"{host}.")
    whole = owner.shell.run("domain", "verify", project, host)
    await owner.stack.challenges.tell("set-txt", host=f"{records[0]['name']}.", value=records[0]["value"])
    proved = owner.shell.run("domain", "verify", project, host)

    assert [one["required"] for one in records] == [True, True, True]
    assert "the TXT record proves that the domain is yours" in advice
    assert [(one["type"], one["value"]) for one in records[1:]] == [("A", "203.0.113.10"), ("AAAA", "2001:db8::10")]
    assert (half.returncode, whole.returncode, proved.returncode) == (1, 1, 0)
    assert "the addresses that it leads to are the same for every project" in " ".join(whole.stdout.split())
    assert "It also leads to 2001:db8::bad, which is not ours." in half.stdout


async def test_what_cannot_be_is_refused_when_it_is_added(owner: Owner) -> None:
    """A name too long for its TXT record, and more unverified domains than anybody needs, are refused with a hint."""
    long = f"{'.'.join(['a' * 60] * 3)}.{'b' * 50}.example"
    too_long = owner.shell.run("domain", "add", owner.shop.slug, long)
    for number in range(50):
        answer = await owner.shop.api.post(
            f"/v1/projects/{owner.shop.id}/domains", {"domain": f"n{number}.{owner.host}"}
        )
        assert answer.status == 201, answer
    too_many = owner.shell.run("domain", "add", owner.shop.slug, owner.host)
    unknown = owner.shell.run("domain", "verify", owner.shop.slug, owner.host)

    assert (too_long.returncode, too_many.returncode, unknown.returncode) == (2, 2, 2)
    assert "its TXT record would have a name of more than 253 characters" in too_long.stderr
    assert "50 domains of the project wait for verification already." in too_many.stderr
    assert "The project has no domain" in unknown.stderr


async def _page(owner: Owner) -> str:
    """What a browser shows that trusts the certificate authority, and looks the name up here."""
    trust = ssl.create_default_context(cafile=owner.stack.root / "ca-bundle.pem")
    port = urlsplit(owner.stack.gateway.tls_url or "").port
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=trust)) as session,
            session.get(f"https://127.0.0.1:{port}/", headers={"Host": owner.host}, server_hostname=owner.host) as page,
        ):
            return await page.text()
    except aiohttp.ClientError as error:
        raise AssertionError("not served over HTTPS yet") from error
