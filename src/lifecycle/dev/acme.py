"""A private Pebble, the certificate authority of the tests, and its challenge server, which answers DNS for it.

Pebble forgets everything when it ends, and has another root at every start. `Pebble.trust` is for HTTPS with Pebble
itself; what it issues is trusted by its root, which its management port tells.
"""

import json
import shutil
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import JsonValue

from lifecycle import clock
from lifecycle.dev.process import Child
from lifecycle.dev.servers import MissingProgramError

PORTS = ("challenge_management", "challenge_dns", "pebble", "pebble_management")
_HOST = "127.0.0.1"
_START = timedelta(seconds=60)
_VALID = timedelta(days=3650)


class PebbleOptions(NamedTuple):
    """What is special about a Pebble.

    Attributes:
        program: of another release than the installed one.
        challenge_program: of its challenge server.
        dns: `host:port` that it asks, instead of the challenge server.
        options: added to its configuration.
        environment: further variables.
    """

    program: Path | None = None
    challenge_program: Path | None = None
    dns: str | None = None
    options: Mapping[str, JsonValue] | None = None
    environment: Mapping[str, str] | None = None


class ChallengeServer:
    """A pebble-challtestsrv: the DNS that Pebble asks. Every name has the address 127.0.0.1 unless told otherwise.

    Args:
        ports: `challenge_management`, `challenge_dns`.
        log: its log file.
        program: of which release; None is the installed one.
    """

    def __init__(self, ports: Mapping[str, int], *, log: Path, program: Path | None = None) -> None:
        self.url = f"http://{_HOST}:{ports['challenge_management']}"
        self.dns = f"{_HOST}:{ports['challenge_dns']}"
        chosen = _program("pebble-challtestsrv", program)
        command = [
            str(chosen),
            *("-management", f"{_HOST}:{ports['challenge_management']}"),
            *_dns_flags(chosen, self.dns),
            *("-http01", "", "-https01", "", "-tlsalpn01", ""),
            *("-defaultIPv4", _HOST, "-defaultIPv6", ""),
        ]
        self.child = Child("pebble-challtestsrv", command, environment={}, log=log)

    async def start(self) -> None:
        """Start it and wait until it takes orders."""
        self.child.start()
        await self.child.wait_until(self.is_ready, within=_START)

    async def is_ready(self) -> bool:
        """Whether it takes orders."""
        try:
            await self.tell("dns-request-history", host="ready.invalid")
        except (aiohttp.ClientError, TimeoutError):
            return False
        return True

    async def tell(self, order: str, **details: JsonValue) -> None:
        """Give an order, such as `set-txt` with `host` and `value`.

        Raises:
            aiohttp.ClientError: it is not understood, or nobody is there.
        """
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.post(f"{self.url}/{order}", json=details),
        ):
            pass


class Pebble:
    """A Pebble on loopback.

    Args:
        folder: its folder.
        ports: `pebble`, `pebble_management`, and `validation_http` and `validation_tls`, at which it looks for answers
            to challenges instead of 80 and 443.
        dns: `host:port` of the DNS that it asks.
        log: its log file.
        program: of which release; None is the installed one.
        options: added to the `pebble` section of its configuration.
        environment: further variables, such as `PEBBLE_WFE_NONCEREJECT`.
    """

    def __init__(
        self,
        folder: Path,
        ports: Mapping[str, int],
        *,
        dns: str,
        log: Path,
        program: Path | None = None,
        options: Mapping[str, JsonValue] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory_url = f"https://{_HOST}:{ports['pebble']}/dir"
        self.management_url = f"https://{_HOST}:{ports['pebble_management']}"
        self.trust = folder / "trust.pem"
        self._folder = folder
        self._configuration: dict[str, JsonValue] = {
            "listenAddress": f"{_HOST}:{ports['pebble']}",
            "managementListenAddress": f"{_HOST}:{ports['pebble_management']}",
            "certificate": str(folder / "server.pem"),
            "privateKey": str(folder / "server-key.pem"),
            "httpPort": ports["validation_http"],
            "tlsPort": ports["validation_tls"],
            "ocspResponderURL": "",
            **(options or {}),
        }
        command = [
            str(_program("pebble", program)),
            *("-config", str(folder / "pebble.json")),
            *("-dnsserver", dns),
        ]
        # No pause before a validation, no rejected nonces, no authorization from an earlier order, unless asked for;
        # of those one in a hundred comes all the same, for Pebble compares with `>`.
        plain = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        self.child = Child("pebble", command, environment={**plain, **(environment or {})}, log=log)

    async def start(self) -> None:
        """Make its folder unless it is there, start it and wait until it gives its directory."""
        if not self.trust.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            _write_certificates(self._folder)
        configuration = json.dumps({"pebble": self._configuration})
        (self._folder / "pebble.json").write_text(configuration, encoding="utf-8")
        self.child.start()
        await self.child.wait_until(self.is_ready, within=_START)

    async def is_ready(self) -> bool:
        """Whether it gives its directory. It makes keys first, which takes seconds."""
        try:
            await self._get(self.directory_url)
        except (aiohttp.ClientError, TimeoutError):
            return False
        return True

    async def root(self, number: int = 0) -> str:
        """PEM of the root that its certificates are to be trusted by; further ones are of alternate chains."""
        return await self._get(f"{self.management_url}/roots/{number}")

    async def status(self, serial: str) -> str:
        """`Valid` or `Revoked`, of the certificate with this serial in hexadecimal."""
        answer = json.loads(await self._get(f"{self.management_url}/cert-status-by-serial/{serial}"))
        return str(answer["Status"])

    async def set_renewal_info(self, certificate_pem: str, answer: str) -> None:
        """Have it give this text, whatever it is, as renewal information; from release 2.10 on.

        Raises:
            aiohttp.ClientError: it does not know the certificate, or is older.
        """
        body = {"Certificate": certificate_pem, "ARIResponse": answer}
        async with (
            self._session() as session,
            session.post(f"{self.management_url}/set-renewal-info/", json=body),
        ):
            pass

    async def _get(self, url: str) -> str:
        async with self._session() as session, session.get(url) as response:
            return await response.text()

    def _session(self) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=self.trust)
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=5),
            connector=aiohttp.TCPConnector(ssl=context),
            raise_for_status=True,
        )


def _write_certificates(folder: Path) -> None:
    """An authority whose key is thrown away, and the one certificate that it signs."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name, server_name = _name("Lifecycle dev CA"), _name("pebble")
    authority = (
        _builder(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address(_HOST))]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    server = (
        _builder(server_name, authority_name, server_key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key_file = folder / "server-key.pem"
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    # Last: it says that the others are there.
    (folder / "trust.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _dns_flags(program: Path, address: str) -> Sequence[str]:
    # Releases after 2.4 renamed the flag, and also listen for DNS over HTTPS unless told not to.
    flags = subprocess.run([str(program), "-h"], capture_output=True, text=True, check=False).stderr
    return ("-dns01", address) if "-dns01" in flags else ("-dnsserver", address, "-doh", "")


def _program(name: str, chosen: Path | None) -> Path:
    if chosen is not None:
        return chosen
    found = shutil.which(name)
    if found is None:
        raise MissingProgramError(f"{name} is not installed; run 'make setup', which installs what is missing")
    return Path(found)
