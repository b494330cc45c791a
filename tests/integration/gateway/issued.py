"""Certificates for the gateway's tests, and what a visitor with TLS is shown."""

import asyncio
import ssl
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from lifecycle import clock
from lifecycle.deploy.gateway import Bundle

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def bundle(*names: str, version: int = 1, key: Key | None = None, named: tuple[str, ...] = ()) -> Bundle:
    """A certificate as the gateway wants it, signed by itself; the first name is the one it is kept under.

    Args:
        names: for which it is offered.
        version: of it.
        key: its own, else a new one.
        named: what the certificate itself names, when that differs.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:60])])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in named or names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Bundle(names[0], version, certificate.public_bytes(serialization.Encoding.PEM) + private(key), names)


def private(key: Key) -> bytes:
    """PEM of a key."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def serial(of: Bundle) -> str:
    """As the gateway says it."""
    return f"{x509.load_pem_x509_certificate(of.pem).serial_number:x}"


class Shown(NamedTuple):
    """What a handshake gave: the serial, the protocol inside (ALPN), and the version of TLS."""

    serial: str
    protocol: str | None
    version: str | None


async def handshake(port: int, hostname: str | None, *protocols: str, context: ssl.SSLContext | None = None) -> Shown:
    """A visitor's handshake on loopback."""
    context = context or visitor()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    async with asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=hostname or "")
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
        shown = Shown(f"{certificate.serial_number:x}", tls.selected_alpn_protocol(), tls.version())
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return shown


def visitor() -> ssl.SSLContext:
    """A visitor who trusts every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
