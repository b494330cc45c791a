"""A private BIND, for DNS that a program may change (RFC 2136), as zones are kept in the real world.

It listens on loopback only, keeps everything in its own folder, and needs no root powers. With `HostedZone(".")` it
asks nobody: what is in none of its zones does not exist.
"""

import base64
import secrets
import shutil
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

from lifecycle.dev.process import Child
from lifecycle.dev.servers import MissingProgramError

_HOST = "127.0.0.1"
_START = timedelta(seconds=30)
_QUESTION_SECONDS = 0.1  # what is asked before it listens is lost, and worth no wait
# Debian puts it where only root looks for programs.
_PATH = "/usr/sbin:/usr/local/sbin"


class HostedZone(NamedTuple):
    """A zone that it is the primary of.

    Attributes:
        name: without a dot at the end.
        records: lines of a zone file; SOA, and one NS that is this server, are there already.
        update_policy: who may change what, such as `grant acme-key name _acme-challenge.dyn.test. TXT;`.
        address: of that NS.
    """

    name: str
    records: Sequence[str] = ()
    update_policy: str = ""
    address: str = _HOST


class Bind:
    """A named on loopback.

    Args:
        folder: its folder.
        ports: `dns`, for UDP and TCP.
        log: its log file.
        zones: what it holds.
        keys: names of TSIG keys (hmac-sha256); their secrets are made at the first start.
        options: lines added to `options`, such as `dnssec-validation yes;`.
        extra: further statements, such as a zone that is forwarded.
        six_port: a port of ::1 at which it listens too; one below 1024 takes root.
    """

    def __init__(
        self,
        folder: Path,
        ports: Mapping[str, int],
        *,
        log: Path,
        zones: Sequence[HostedZone] = (),
        keys: Sequence[str] = (),
        options: Sequence[str] = (),
        extra: str = "",
        six_port: int | None = None,
    ) -> None:
        self.address = f"{_HOST}:{ports['dns']}"
        self._port = ports["dns"]
        self._folder = folder
        self._zones = zones
        self._keys = keys
        self._options = options
        self._extra = extra
        self._six_port = six_port
        command = [_program(), "-f", "-n", "1", "-c", str(folder / "named.conf")]
        self.child = Child("named", command, environment={}, log=log)

    def key_file(self, name: str) -> Path:
        """The file with the secret of this key, in base64."""
        return self._folder / f"{name}.key"

    async def start(self) -> None:
        """Write its files, except zones and keys that are there; start it and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in self._keys:
            if not self.key_file(name).exists():
                self.key_file(name).touch(mode=0o600)
                secret = base64.b64encode(secrets.token_bytes(32)).decode()
                self.key_file(name).write_text(f"{secret}\n", encoding="ascii")
        for zone in self._zones:
            if not self._zone_file(zone).exists():
                self._zone_file(zone).write_text(_zone_text(zone), encoding="ascii")
        configuration = self._folder / "named.conf"
        configuration.touch(mode=0o600)  # it repeats the secrets
        configuration.write_text(self._configuration(), encoding="utf-8")
        self.child.start()
        await self.child.wait_until(self.is_ready, within=_START)

    async def is_ready(self) -> bool:
        """Whether it answers, whatever it answers."""
        question = dns.message.make_query("version.bind", dns.rdatatype.SOA, flags=dns.flags.Flag(0))
        try:
            await dns.asyncquery.udp(question, _HOST, port=self._port, timeout=_QUESTION_SECONDS)
        except (OSError, dns.exception.DNSException):
            return False
        return True

    def _zone_file(self, zone: HostedZone) -> Path:
        return self._folder / f"{zone.name.strip('.') or 'root'}.zone"

    def _configuration(self) -> str:
        listen = [f"listen-on port {self._port} {{ {_HOST}; }};"]
        if self._six_port is not None:
            listen.append(f"listen-on-v6 port {self._six_port} {{ ::1; }};")
        else:
            listen.append("listen-on-v6 { none; };")
        parts = [
            "options {",
            f'directory "{self._folder}";',
            f'pid-file "{self._folder / "named.pid"}";',
            f'session-keyfile "{self._folder / "session.key"}";',
            f'managed-keys-directory "{self._folder}";',
            "lock-file none;",
            *listen,
            "recursion yes; allow-recursion { localhost; }; allow-query { localhost; };",
            "allow-transfer { none; }; notify no; empty-zones-enable no; max-cache-size 8m;",
            *([] if any("dnssec-validation" in line for line in self._options) else ["dnssec-validation no;"]),
            *self._options,
            "};",
            "controls { };",
            "logging { channel out { stderr; severity info; print-time yes; }; category default { out; }; };",
        ]
        for name in self._keys:
            secret = self.key_file(name).read_text(encoding="ascii").strip()
            parts.append(f'key "{name}" {{ algorithm hmac-sha256; secret "{secret}"; }};')
        for zone in self._zones:
            policy = f" update-policy {{ {zone.update_policy} }};" if zone.update_policy else ""
            parts.append(f'zone "{zone.name}" {{ type primary; file "{self._zone_file(zone)}";{policy} }};')
        return "\n".join([*parts, self._extra, ""])


def _zone_text(zone: HostedZone) -> str:
    origin = "." if zone.name == "." else f"{zone.name}."
    own = f"ns.{origin.lstrip('.')}"
    head = [
        f"$ORIGIN {origin}",
        "$TTL 1",
        f"@ SOA {own} hostmaster.invalid. 1 3600 600 86400 1",
        f"@ NS {own}",
        f"{own} {'AAAA' if ':' in zone.address else 'A'} {zone.address}",
    ]
    return "\n".join([*head, *zone.records, ""])


def _program() -> str:
    found = shutil.which("named") or shutil.which("named", path=_PATH)
    if found is None:
        raise MissingProgramError("named is not installed; run 'scripts/setup --tests', which installs what is missing")
    return found
