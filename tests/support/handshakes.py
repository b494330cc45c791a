"""Visitors with TLS who trust one CA, as browsers do: what they are shown, and whether it is ever bad."""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from lifecycle import clock

_PATIENCE = 10  # seconds for one handshake


class Shown(NamedTuple):
    """The certificate that a visitor was shown, and found good."""

    serial: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]


class Handshake(NamedTuple):
    """One visit: when it ended, and what was wrong; `serial` is empty when something was."""

    hostname: str
    at: datetime
    serial: str
    failure: str = ""


def visitor(trust: Path) -> ssl.SSLContext:
    """A visitor who trusts these authorities and nobody else; name, chain and dates are checked by OpenSSL."""
    return ssl.create_default_context(cafile=trust)


async def handshake(port: int, hostname: str, context: ssl.SSLContext) -> Shown:
    """A new connection to the gateway on loopback.

    Raises:
        OSError: nobody answers; `ssl.SSLCertVerificationError`: what is shown is not for this name, or not valid now.
    """
    async with asyncio.timeout(_PATIENCE):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=hostname)
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return Shown(
        f"{certificate.serial_number:x}",
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        tuple(names.get_values_for_type(x509.DNSName)),
    )


async def visits(
    port: int,
    hostnames: Sequence[str],
    context: ssl.SSLContext,
    *,
    until: Callable[[], bool],
    pause_seconds: float = 0.02,
) -> list[Handshake]:
    """Visit one name after the other, each time by a new connection, until told to end; all that happened."""
    seen: list[Handshake] = []
    for hostname in _forever(hostnames):
        if until():
            break
        try:
            shown = await handshake(port, hostname, context)
        except OSError as error:  # TimeoutError and ssl.SSLError are such
            seen.append(Handshake(hostname, clock.now(), "", repr(error)))
        else:
            seen.append(Handshake(hostname, clock.now(), shown.serial))
        await asyncio.sleep(pause_seconds)
    return seen


def _forever(hostnames: Sequence[str]) -> Iterator[str]:
    while True:
        yield from hostnames
