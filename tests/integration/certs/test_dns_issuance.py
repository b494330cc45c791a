"""Certificates by DNS-01, from a real CA that asks a real BIND."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lifecycle.certs import acme
from lifecycle.certs.dns import Published, Publisher, Removed, Visible
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.verdicts import Challenge
from lifecycle.dev.acme import Pebble
from tests.integration.certs.authority import NEWER, Lab, expect, hosts
from tests.support.dns import served
from tests.support.newer_pebble import needed
from tests.support.waiting import eventually


class DnsLab(Lab):
    """A Pebble that asks the BIND that `publisher` publishes in.

    Attributes:
        published: records with their values.
    """

    def __init__(self, root: Path, publisher: Publisher, dns: str, programs: Path | None) -> None:
        super().__init__(root, programs=programs, options={}, environment={})
        self._publisher = publisher
        self.published: list[tuple[Published, str]] = []
        program = programs / "pebble" if programs else None
        self.pebble = Pebble(root / "p", self.free, dns=dns, log=root / "pebble.log", program=program)

    async def publish(
        self, signer: acme.Signer, identifier: Identifier, challenge: Challenge, kind: ChallengeType
    ) -> None:
        """Publish, and wait until every authoritative server has it."""
        assert kind is ChallengeType.DNS_01
        value = acme.dns_value(acme.key_authorization(signer, challenge.token))
        made = expect(Published, await self._publisher.publish(acme.validation_name(identifier), value))
        self.published.append((made, value))

        async def is_there() -> bool:
            return isinstance(await self._publisher.is_visible(made.record, value), Visible)

        await eventually(is_there, within=10)


@asynccontextmanager
async def _opened(programs: Path | None) -> AsyncIterator[tuple[DnsLab, Publisher]]:
    async with served() as name_server:
        publisher = Publisher(name_server.configuration)
        with tempfile.TemporaryDirectory(prefix="lifecycle-ca-") as folder:
            lab = DnsLab(Path(folder), publisher, name_server.bind.address, programs)
            try:
                await lab.pebble.start()
                yield lab, publisher
            finally:
                lab.ca.close()
                await lab.pebble.child.stop()


@pytest.mark.parametrize("programs", [None, NEWER], ids=["installed", "newer"])
async def test_certificates_come_from_zones_of_ours_and_by_cname(programs: Path | None) -> None:
    """A name with its wildcard, and a name whose owner only set a CNAME, both get a certificate, and nothing stays."""
    if programs is not None:
        needed()
    async with _opened(programs) as (lab, publisher):
        signer = await lab.account()

        await lab.issue(signer, hosts("dyn.test", "*.dyn.test"), ChallengeType.DNS_01)
        await lab.issue(signer, hosts("www.corp.test"), ChallengeType.DNS_01)

        assert [one.record for one, _ in lab.published] == [
            "_acme-challenge.dyn.test",
            "_acme-challenge.dyn.test",
            "www.corp.test.acme.test",
        ]
        for one, value in lab.published:
            expect(Removed, await publisher.remove(one.record, one.zone, value))
