"""A first certificate is rehearsed at a staging authority, also when a person sets the records."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.issuing import issued, show, until
from tests.support.waiting import eventually

# The staging authority is the same Pebble under another name, with an account of its own.
_FILE = """
resolvers = ["{resolver}"]

[[authority]]
name = "production"
directory_url = "{directory_url}"
trust_file = "{trust}"
http_port = {port}
internal = true
staging = "staging"

[[authority]]
name = "staging"
directory_url = "{directory_url}"
trust_file = "{trust}"
http_port = {port}
internal = true
rehearsal_only = true
"""


@pytest.fixture(scope="module")
async def theatre() -> AsyncIterator[Stack]:
    """A stack whose authority has a staging one."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-rehearsal-"))
    file = root / "certificates.toml"
    running = Stack(root / "s", settings={"LIFECYCLE_CERTIFICATES_FILE": str(file)})
    text = _FILE.format(
        resolver=running.challenges.dns,
        directory_url=running.authority.directory_url,
        trust=running.authority.trust,
        port=running.ports["gateway_http"],
    )
    file.write_text(text, encoding="utf-8")
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        shutil.rmtree(root)


@pytest.fixture
async def client(theatre: Stack) -> AsyncIterator[Api]:
    """The API of that stack."""
    async with Api(theatre.api_url, (theatre.root / "api-key").read_text().strip()) as found:
        yield found


async def test_a_rehearsed_certificate_comes_from_the_real_authority(client: Api, slug: str) -> None:
    """The rehearsal leaves no trace in what I see: one version, of the authority that I wanted."""
    shown = await issued(client, f"{slug}.example.com", within=30)

    assert (shown["ca"], len(shown["versions"])) == ("production", 1)


async def test_a_person_sets_the_records_of_the_rehearsal_and_then_the_real_ones(
    theatre: Stack, client: Api, slug: str
) -> None:
    """I am shown the records that are wanted now: first those of the rehearsal, then those of the order."""
    domain = f"{slug}.example.com"
    await client.post(f"/v1/certificates/{domain}/issue", {"challenge": "dns-01", "by_person": True})
    rehearsed = await eventually(partial(_wanted, client, domain, ""), within=30)
    await theatre.challenges.tell("set-txt", host=f"_acme-challenge.{domain}.", value=rehearsed)
    await client.post(f"/v1/certificates/{domain}/records-published")
    ordered = await eventually(partial(_wanted, client, domain, rehearsed), within=30)
    await client.post(f"/v1/certificates/{domain}/halt")
    shown = await until(client, domain, "failed", within=30)

    assert ordered != rehearsed
    assert shown["records"] == []


async def _wanted(client: Api, domain: str, former: str) -> str | None:
    """The one value that is to be set, when it is another than the former."""
    values = [one["value"] for one in (await show(client, domain))["records"]]
    return next((value for value in values if value != former), None)
