"""A real BIND for tests: a zone that we may change, one that leads into it, and what else DNS can look like."""

import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lifecycle.certs.configuration import Certificates, Zone
from lifecycle.dev import ports
from lifecycle.dev.bind import Bind, HostedZone

# `dyn.test` may be changed at one name, `acme.test` everywhere below it; `corp.test` is somebody else's, and leads
# there with a CNAME. The root makes everything else not exist.
ZONES = (
    HostedZone("."),
    HostedZone(
        "dyn.test",
        update_policy="grant dyn-key name _acme-challenge.dyn.test. TXT; grant dyn-key name other.dyn.test. TXT;",
    ),
    HostedZone("acme.test", update_policy="grant acme-key wildcard *.acme.test. TXT;"),
    HostedZone(
        "corp.test",
        (
            "_acme-challenge.www CNAME www.corp.test.acme.test.",
            "_acme-challenge.two CNAME hop",
            "hop CNAME two.corp.test.acme.test.",
            "_acme-challenge.lost CNAME lost.elsewhere.example.",
            "_acme-challenge.loop CNAME loop",
            "loop CNAME _acme-challenge.loop",
            "www A 127.0.0.1",
            "dual A 127.0.0.1",
            "dual AAAA ::1",
            "alias CNAME dual",
            "six AAAA ::1",
            'text TXT "in two " "parts"',
        ),
    ),
    HostedZone(
        "caa.test",
        (
            '@ CAA 0 issue "pebble.letsencrypt.org"',
            "inherits A 127.0.0.1",
            "other A 127.0.0.1",
            'other CAA 0 issue "other.example"',
            "nobody A 127.0.0.1",
            'nobody CAA 0 issue ";"',
            "wild A 127.0.0.1",
            'wild CAA 0 issue "pebble.letsencrypt.org"',
            'wild CAA 0 issuewild ";"',
            "account A 127.0.0.1",
            'account CAA 0 issue "pebble.letsencrypt.org; accounturi=https://ca.example/acct/1"',
            "method A 127.0.0.1",
            'method CAA 0 issue "pebble.letsencrypt.org; validationmethods=dns-01,tls-alpn-01"',
            "critical A 127.0.0.1",
            'critical CAA 128 unheard "of"',
            "alias CNAME other",
        ),
    ),
)
KEYS = ("dyn-key", "acme-key")


class Served:
    """A BIND, and the configuration of somebody who may change two of its zones.

    Args:
        folder: for its files.
        zones: in place of `ZONES`.
        six_port: of ::1, where it listens too.
    """

    def __init__(self, folder: Path, *, zones: Sequence[HostedZone] = ZONES, six_port: int | None = None) -> None:
        self.folder = folder
        free = ports.assign(("dns",), remembered=folder / "ports.json", given={})
        self.bind = Bind(folder / "bind", free, log=folder / "named.log", zones=zones, keys=KEYS, six_port=six_port)

    @property
    def configuration(self) -> Certificates:
        """As the certificates file would say it."""
        zones = (self.zone("dyn.test", "dyn-key"), self.zone("acme.test", "acme-key"))
        return Certificates(resolvers=(self.bind.address,), zone=zones)

    def zone(self, name: str, key: str) -> Zone:
        """A zone of this server, changed with this key."""
        return Zone(name=name, server=self.bind.address, key_name=key, key_file=self.bind.key_file(key))


@asynccontextmanager
async def served(*, zones: Sequence[HostedZone] = ZONES, six_port: int | None = None) -> AsyncIterator[Served]:
    """A BIND for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="lifecycle-dns-") as folder:
        opened = Served(Path(folder), zones=zones, six_port=six_port)
        try:
            await opened.bind.start()
            yield opened
        finally:
            await opened.bind.child.stop()


def own_port_53() -> str:
    """The address ::1, at whose port 53 nobody listens; the test is skipped where that port is not to be had."""
    with (
        socket.socket(socket.AF_INET6) as tcp,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp,
    ):
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(("::1", 53))
            udp.bind(("::1", 53))
        except OSError as error:
            pytest.skip(f"port 53 of ::1 cannot be had: {error.strerror}")
    return "::1"
