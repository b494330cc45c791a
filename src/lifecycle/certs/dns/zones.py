"""The zones that we may publish in, and what opens them. Secrets are read when they are used, and kept nowhere."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import dns.exception
import dns.name

from lifecycle.certs.configuration import Zone
from lifecycle.errors import Code, LifecycleError

RFC2136 = "rfc2136"


def fitting(record: str, zones: Sequence[Zone]) -> Zone | None:
    """The zone that this name is in, of several the one with the longest name; None when it is in none."""
    inside = [one for one in zones if record == one.name or record.endswith(f".{one.name}")]
    return max(inside, key=lambda one: len(one.name), default=None)


def check(zone: Zone) -> None:
    """See that all is there that a change of this zone takes.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_CREDENTIALS.
    """
    if zone.provider == RFC2136:
        tsig_secret(zone)
    else:
        credentials(zone)


def tsig_secret(zone: Zone) -> bytes:
    """The secret of the TSIG key.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_CREDENTIALS, also when the zone has no server or key.
    """
    if zone.server is None or zone.key_name is None or zone.key_file is None:
        raise _unusable(zone, "the configuration lacks its server, key_name or key_file")
    try:
        dns.name.from_text(zone.key_name)
    except dns.exception.DNSException:
        raise _unusable(zone, f"its key_name {zone.key_name} is no name of a key") from None
    text = _read(zone, zone.key_file)
    try:
        secret = base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise _unusable(zone, f"{zone.key_file} does not hold a secret in base64 and nothing else") from None
    if not secret:
        raise _unusable(zone, f"{zone.key_file} is empty")
    return secret


def credentials(zone: Zone) -> Mapping[str, str]:
    """What a provider of dns-lexicon wants to be told, from `name=value` lines; `#` begins a comment line.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_CREDENTIALS, also when the package is not installed or has no such provider.
    """
    if find_spec("lexicon") is None:
        raise _unusable(zone, f"its provider {zone.provider} takes the package dns-lexicon, which is not installed")
    from lexicon._private.discovery import find_providers  # noqa: PLC0415  the package is optional

    is_complete = find_providers().get(zone.provider)
    if is_complete is None:
        raise _unusable(zone, f"dns-lexicon has no provider {zone.provider}")
    if not is_complete:
        raise _unusable(zone, f"its provider takes further packages: install dns-lexicon[{zone.provider}]")
    if zone.credentials_file is None:
        raise _unusable(zone, "the configuration lacks its credentials_file")
    found: dict[str, str] = {}
    for number, line in enumerate(_read(zone, zone.credentials_file).splitlines(), start=1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals or not value.strip():
            raise _unusable(zone, f"line {number} of {zone.credentials_file} is not name=value")
        found[name.strip()] = value.strip()
    if not found:
        raise _unusable(zone, f"{zone.credentials_file} is empty")
    return found


def _read(zone: Zone, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise _unusable(zone, f"{file} cannot be read: {error.strerror}") from None
    except UnicodeError:
        # The error would repeat what is in the file.
        raise _unusable(zone, f"{file} is not text") from None


def _unusable(zone: Zone, problem: str) -> LifecycleError:
    return LifecycleError(Code.CERTIFICATE_ZONE_CREDENTIALS, zone=zone.name, problem=problem)
