"""The whole of Lifecycle with two CAs and a BIND that both ask: certificates are issued and served for real."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
from cryptography import x509
from pydantic import JsonValue

from lifecycle.certs import acme
from lifecycle.certs.acme import CertificateAuthority, Signer
from lifecycle.certs.authorities.accounts import bound_to
from lifecycle.certs.verdicts import Order, RenewalInfo
from lifecycle.clock import rfc3339
from lifecycle.db import Database, Row
from lifecycle.dev import ports
from lifecycle.dev.acme import Pebble, PebbleOptions
from lifecycle.dev.bind import Bind, HostedZone
from lifecycle.dev.stack import Stack
from lifecycle.vault import Vault
from tests.support import newer_pebble
from tests.support.api import Answer, Api
from tests.support.handshakes import Shown, handshake, visitor
from tests.support.waiting import eventually

# Where `scripts/setup --tests` puts a release with renewal information and profiles.
NEWER = newer_pebble.FOLDER
# Seconds of life of what each profile gives.
PROFILES = {"classic": 7_776_000, "shortlived": 576_000, "minute": 60, "brief": 20}
KEYS = ("dyn-key", "acme-key")
BINDING_ID = "kid-1"

# Every name has the address of this machine; two zones are ours to change, and `corp.test` leads into one of them.
_ZONES = (
    HostedZone(".", ("* A 127.0.0.1",)),
    HostedZone("dyn.test", update_policy="grant dyn-key wildcard *.dyn.test. TXT;"),
    HostedZone("acme.test", update_policy="grant acme-key wildcard *.acme.test. TXT;"),
    HostedZone("corp.test", ("_acme-challenge.www CNAME www.corp.test.acme.test.", "www A 127.0.0.1")),
    HostedZone("hand.test", update_policy="grant dyn-key wildcard *.hand.test. TXT;"),
)
_OWN_PORTS = ("dns", "pebble", "pebble_management", "distant")
_FILE = """\
resolvers = ["{resolver}"]

[[authority]]
name = "pebble"
directory_url = "{first}"
trust_file = "{first_trust}"
internal = true
{profile}
http_port = {http_port}
tls_port = {tls_port}

[[authority]]
name = "strict"
directory_url = "{strict}"
trust_file = "{strict_trust}"
internal = true
preferred_chain = "{preferred_chain}"
http_port = {http_port}
tls_port = {tls_port}
[authority.binding]
key_id = "{binding_id}"
hmac_key_file = "{binding_file}"

[[authority]]
name = "careful"
directory_url = "{first}"
trust_file = "{first_trust}"
internal = true
{profile}
addresses = true
staging = "practice"
http_port = {http_port}
tls_port = {tls_port}

[[authority]]
name = "practice"
directory_url = "{strict}"
trust_file = "{strict_trust}"
internal = true
addresses = true
rehearsal_only = true
[authority.binding]
key_id = "{binding_id}"
hmac_key_file = "{binding_file}"

[[authority]]
name = "distant"
directory_url = "https://127.0.0.1:{distant_port}/dir"
trust_file = "{first_trust}"
internal = true
{profile}
http_port = {http_port}
tls_port = {tls_port}

[[zone]]
name = "dyn.test"
server = "{resolver}"
key_name = "dyn-key"
key_file = "{dyn_key}"

[[zone]]
name = "acme.test"
server = "{resolver}"
key_name = "acme-key"
key_file = "{acme_key}"

[[zone]]
name = "hand.test"
server = "{resolver}"
key_name = "dyn-key"
key_file = "{dyn_key}"
"""


class Line:
    """A connection to a server that can be cut.

    Args:
        port: where it is reached through this.
        target: its own port.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        """Let everything through."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """End what goes on, and let nothing through; fine when it is cut already."""
        if self._server is not None:
            self._server.close()
            for one in list(self._open):
                one.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, there_writer}
        self._open |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, there_writer))
                group.create_task(_copy(there_reader, writer))
        finally:
            self._open -= ends


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
    writer.close()


class Site:
    """Everything, and how a person uses it.

    Attributes:
        stack: with the first CA: `pebble` in the configuration, `careful`, which rehearses, and `distant`.
        line: to the first CA as `distant`.
        strict: another CA. It takes bound accounts only, and has a second chain, which is preferred.
        bind: the DNS that everybody asks.
        ca: the first CA, to ask it directly.
        preferred_root: common name of the root of that chain.
        api: for an administrator.
    """

    def __init__(self, root: Path, *, settings: Mapping[str, str], environment: Mapping[str, str]) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        free = ports.assign(_OWN_PORTS, remembered=root / "ports.json", given={})
        self.bind = Bind(root / "bind", free, log=root / "named.log", zones=_ZONES, keys=KEYS)
        is_newer = (NEWER / "pebble").exists()
        profiles: dict[str, JsonValue] = {
            name: {"description": name, "validityPeriod": seconds} for name, seconds in PROFILES.items()
        }
        self.stack = Stack(
            root / "s",
            engine_environment=environment,
            settings=settings,
            authority=PebbleOptions(
                program=NEWER / "pebble" if is_newer else None,
                challenge_program=NEWER / "pebble-challtestsrv" if is_newer else None,
                dns=self.bind.address,
                options={"profiles": profiles} if is_newer else {},
            ),
        )
        self.binding_secret = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        validation = {name: self.stack.ports[f"gateway_{name}"] for name in ("http", "https")}
        self.strict = Pebble(
            root / "strict",
            {**free, "validation_http": validation["http"], "validation_tls": validation["https"]},
            dns=self.bind.address,
            log=root / "strict.log",
            options={
                "externalAccountBindingRequired": True,
                "externalAccountMACKeys": {BINDING_ID: self.binding_secret},
            },
            environment={"PEBBLE_ALTERNATE_ROOTS": "1"},
        )
        self.line = Line(free["distant"], self.stack.ports["pebble"])
        self.ca = CertificateAuthority(self.stack.authority.directory_url, trust=self.stack.authority.trust)
        self.preferred_root = ""
        self.offers_renewal_information = is_newer
        self.api = Api(self.stack.api_url, None)

    @property
    def port(self) -> int:
        """Where visitors with TLS come in."""
        return self.stack.ports["gateway_https"]

    @property
    def trust(self) -> Path:
        """PEM of the roots of both CAs."""
        return self._root / "roots.pem"

    async def start(self) -> None:
        """Start everything."""
        await self.bind.start()
        await self.strict.start()
        await self.stack.start()
        await self.line.mend()
        alternate = await self.strict.root(1)
        subject = x509.load_pem_x509_certificate(alternate.encode()).subject
        self.preferred_root = str(subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        self.trust.write_text(await self.stack.authority.root() + alternate, encoding="utf-8")
        self._configure()
        # Both read the file when they start.
        for own in (self.stack.worker, self.stack.api):
            await own.child.stop()
            await own.start()
        await self.api.close()
        self.api = Api(self.stack.api_url, (self.stack.root / "api-key").read_text(encoding="utf-8").strip())

    async def stop(self) -> None:
        """Stop everything; the files stay."""
        self.ca.close()
        await self.line.cut()
        await self.api.close()
        await self.stack.stop()
        await self.strict.child.stop()
        await self.bind.child.stop()

    def _configure(self) -> None:
        binding = self._root / "binding.key"
        binding.touch(mode=0o600)
        binding.write_text(self.binding_secret, encoding="utf-8")
        text = _FILE.format(
            resolver=self.bind.address,
            first=self.stack.authority.directory_url,
            first_trust=self.stack.authority.trust,
            strict=self.strict.directory_url,
            strict_trust=self.strict.trust,
            # Without a wish that Pebble takes any of its profiles.
            profile='profile = "classic"' if self.offers_renewal_information else "",
            distant_port=self.line.port,
            preferred_chain=self.preferred_root,
            binding_id=BINDING_ID,
            binding_file=binding,
            dyn_key=self.bind.key_file("dyn-key"),
            acme_key=self.bind.key_file("acme-key"),
            http_port=self.stack.ports["gateway_http"],
            tls_port=self.port,
        )
        (self.stack.root / "certificates.toml").write_text(text, encoding="utf-8")

    async def ask(self, domain: str, challenge: str, *names: str, **more: Any) -> Answer:
        """Ask for a certificate."""
        body = {"challenge": challenge, **({"names": names} if names else {}), **more}
        return await self.api.post(f"/v1/certificates/{domain}/issue", body)

    async def issue(self, domain: str, challenge: str, *names: str, **more: Any) -> Mapping[str, Any]:
        """Ask for a certificate, and wait until it is there."""
        answer = await self.ask(domain, challenge, *names, **more)
        assert answer.status == 202, answer
        return await self.until(domain, lambda shown: shown["status"] == "active")

    async def show(self, domain: str) -> Mapping[str, Any]:
        """The certificate as people see it."""
        answer = await self.api.get(f"/v1/certificates/{domain}")
        assert answer.status == 200, answer
        shown: Mapping[str, Any] = answer.body
        return shown

    async def until(
        self, domain: str, wanted: Callable[[Mapping[str, Any]], bool], *, within: float = 30
    ) -> Mapping[str, Any]:
        """The certificate, once it is as wanted."""

        async def there() -> Mapping[str, Any]:
            shown = await self.show(domain)
            assert wanted(shown), {key: shown[key] for key in ("status", "stage", "last_error", "next_renewal_at")}
            return shown

        return await eventually(there, within=within)

    async def visit(self, hostname: str, *, trust: str | None = None) -> Shown:
        """What a visitor is shown who trusts both CAs, or whom `trust` names; raises as `handshake` does."""
        return await handshake(self.port, hostname, visitor(self.trust if trust is None else Path(trust)))

    async def all(self, sql: str, *values: object) -> Sequence[Row]:
        """Rows of the database."""
        db = Database(self.stack.database.url, size=1, deadline=timedelta(seconds=10))
        try:
            return await db.all(sql, *values)
        finally:
            await db.close()

    async def one(self, sql: str, *values: object) -> Row:
        """The only row that there is."""
        [row] = await self.all(sql, *values)
        return row

    async def signer(self, ca: str = "pebble") -> Signer:
        """Our account at the first CA, to ask it what it knows."""
        row = await self.one("SELECT url, sealed_key FROM acme_accounts WHERE ca = %s", ca)
        return Signer(self.vault().open(row["sealed_key"], bound_to=bound_to(ca)), row["url"])

    def vault(self) -> Vault:
        """What opens everything that is sealed."""
        return Vault.parse((self.stack.root / "key-ring").read_text(encoding="utf-8"))

    async def order(self, url: str) -> Order:
        """An order, as the first CA has it."""
        found = await asyncio.to_thread(acme.read_order, self.ca, await self.signer(), url)
        assert isinstance(found, Order), found
        return found

    async def renewal_information(self, certificate_id: str) -> RenewalInfo:
        """When the first CA wants a certificate to be renewed."""
        found = await asyncio.to_thread(acme.read_renewal_info, self.ca, certificate_id)
        assert isinstance(found, RenewalInfo), found
        return found

    async def suggest(self, row: Row, start: datetime, end: datetime, *, explanation: str | None = None) -> None:
        """Have the first CA want a certificate to be renewed then, and have Lifecycle look.

        Args:
            row: of `certificates`.
            start: of the window.
            end: of it.
            explanation: URL for people.
        """
        await self.set_window(row, start, end, explanation=explanation)
        asked = await self.api.post("/v1/certificates:check", {"domains": [row["domain"]]})
        assert asked.body["items"][0]["outcome"] == "accepted", asked

    async def set_window(self, row: Row, start: datetime, end: datetime, *, explanation: str | None = None) -> None:
        """The same, and nobody looks."""
        answer = {
            "suggestedWindow": {"start": rfc3339(start), "end": rfc3339(end)},
            **({"explanationURL": explanation} if explanation else {}),
        }
        await self.stack.authority.set_renewal_info(row["chain"], json.dumps(answer))

    async def forget_failures(self) -> None:
        """Let every CA be asked again."""
        db = Database(self.stack.database.url, size=1, deadline=timedelta(seconds=10))
        try:
            await db.execute("DELETE FROM acme_breakers")
        finally:
            await db.close()

    async def texts(self, name: str) -> Sequence[str]:
        """The TXT records of a name, as the DNS has them now."""
        host, _, port = self.bind.address.partition(":")
        question = dns.message.make_query(name, dns.rdatatype.TXT)
        answer = await dns.asyncquery.udp(question, host, port=int(port), timeout=5)
        return [
            b"".join(one.strings).decode()
            for rrset in answer.answer
            for one in rrset
            if one.rdtype == dns.rdatatype.TXT
        ]

    async def set_text(self, name: str, value: str) -> None:
        """Set a TXT record below `hand.test`, as its owner does."""
        host, _, port = self.bind.address.partition(":")
        secret = self.bind.key_file("dyn-key").read_text(encoding="ascii").strip()
        update = dns.update.UpdateMessage(
            "hand.test", keyring=dns.tsigkeyring.from_text({"dyn-key": secret}), keyalgorithm=dns.tsig.HMAC_SHA256
        )
        update.add(f"{name}.", 1, "TXT", value)
        answer = await dns.asyncquery.tcp(update, host, port=int(port), timeout=5)
        assert answer.rcode() == dns.rcode.NOERROR, answer


def is_found(certificate_id: str) -> bool:
    """Whether Pebble 2.10 knows a certificate by its id (RFC 9773, section 4.1).

    It forgets that the serial in it has a zero in front when it would be negative else, as one of 256 would.
    """
    serial = certificate_id.partition(".")[2]
    return base64.urlsafe_b64decode(serial + "=" * (-len(serial) % 4))[0] != 0


@asynccontextmanager
async def certified(
    root: Path, *, settings: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    """A site for the time of the block, in this folder."""
    site = Site(root, settings=settings or {}, environment=environment or {})
    try:
        await site.start()
        yield site
    finally:
        await site.stop()
