"""What is in a certificate, and whether it is the one that was ordered. Reads no clock and asks nobody."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from lifecycle.certs.names import Identifier
from lifecycle.certs.renewals import Life
from lifecycle.models import Durable

# How far the CA's clock may be ahead of ours; Let's Encrypt dates an hour back because of clocks like ours.
_SKEW = timedelta(minutes=5)


class Verified(Durable):
    """The certificate is the one that was ordered.

    Attributes:
        life: its dates.
        certificate_id: for renewal information and `replaces`; None when its issuer has no key identifier.
        serial: in hexadecimal, as CAs write it.
    """

    verdict: Literal["verified"] = "verified"
    life: Life
    certificate_id: str | None
    serial: str


class Mismatched(Durable):
    """It is not, and must never be used. Each fault is a sentence for people."""

    verdict: Literal["mismatched"] = "mismatched"
    faults: tuple[str, ...]


def signing_request(identifiers: Sequence[Identifier], key_pem: bytes) -> bytes:
    """PEM of the request to certify the public half of this key for these identifiers (RFC 2986).

    Without a common name: it may have 64 characters only, and nobody reads it any more.

    Raises:
        ValueError: the key is neither RSA nor on P-256 or P-384, the only ones that public CAs take.
    """
    key = _private_key(key_pem)
    names: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(one.value)) if one.type == "ip" else x509.DNSName(one.value) for one in identifiers
    ]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(Encoding.PEM)


def certificate_id(certificate: x509.Certificate) -> str | None:
    """The name of a certificate in renewal information (RFC 9773, section 4.1).

    None when it does not name the key of its issuer, which public CAs always do.
    """
    try:
        issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    if issuer is None:
        return None
    # The serial as DER has it: one bit more than it needs, for the sign.
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{_base64url(issuer)}.{_base64url(octets)}"


def verify(
    chain_pem: str, *, key_pem: bytes, identifiers: Sequence[Identifier], now: datetime
) -> Verified | Mismatched:
    """Whether a downloaded certificate is the one that was ordered: key, names, dates, chain.

    Args:
        chain_pem: the certificate, then its issuers, each signed by the next.
        key_pem: the private key that the request was signed with.
        identifiers: of the order.
        now: as our clock has it; a CA's may be five minutes ahead.
    """
    try:
        chain = x509.load_pem_x509_certificates(chain_pem.encode())
        leaf = chain[0]
        faults = tuple(_faults(chain, key_pem, identifiers, now))
        named = certificate_id(leaf)
    except ValueError as error:
        return Mismatched(faults=(f"It cannot be read: {error}.",))
    if faults:
        return Mismatched(faults=faults)
    life = Life(not_before=leaf.not_valid_before_utc, not_after=leaf.not_valid_after_utc)
    return Verified(life=life, certificate_id=named, serial=f"{leaf.serial_number:x}")


def issuer(chain_pem: str) -> str:
    """Who issued a certificate, as RFC 4514 writes names."""
    return x509.load_pem_x509_certificate(chain_pem.encode()).issuer.rfc4514_string()


def key_digest(key_pem: bytes) -> str:
    """SHA-256 of the public half of a key, in hexadecimal."""
    return hashlib.sha256(_spki(_private_key(key_pem).public_key())).hexdigest()


def is_issued_under(chain_pem: str, common_name: str) -> bool:
    """Whether any issuer in this chain has the common name that somebody prefers."""
    issuers = [certificate.issuer for certificate in x509.load_pem_x509_certificates(chain_pem.encode())]
    return any(
        attribute.value == common_name
        for issuer in issuers
        for attribute in issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    )


def _faults(
    chain: Sequence[x509.Certificate], key_pem: bytes, identifiers: Sequence[Identifier], now: datetime
) -> Iterator[str]:
    leaf = chain[0]
    if _spki(leaf.public_key()) != _spki(_private_key(key_pem).public_key()):
        yield "It belongs to another key."
    wanted, found = {(one.type, one.value) for one in identifiers}, set(_names(leaf))
    if missing := wanted - found:
        yield f"It lacks {', '.join(sorted(value for _, value in missing))}."
    if foreign := found - wanted:
        yield f"It has {', '.join(sorted(value for _, value in foreign))}, which nobody ordered."
    if _is_authority(leaf):
        yield "It is the certificate of an authority, not of a server."
    if not _is_for_servers(leaf):
        yield "It is not for servers."
    yield from _chain_faults(chain, now)


def _chain_faults(chain: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    for place, certificate in enumerate(chain):
        title = "It" if place == 0 else f"Its issuer {certificate.subject.rfc4514_string()}"
        if certificate.not_valid_before_utc > now + _SKEW:
            yield f"{title} is not valid before {certificate.not_valid_before_utc.isoformat()}."
        if certificate.not_valid_after_utc <= now:
            yield f"{title} has expired at {certificate.not_valid_after_utc.isoformat()}."
        if place and not _is_authority(certificate):
            yield f"{title} is not an authority."
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            yield f"{issuer.subject.rfc4514_string()} has not signed what stands before it in the chain."
    if len(chain) == 1:
        yield "It comes without its issuer."


def _names(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names:
        if isinstance(name, x509.DNSName):
            yield "dns", name.value.lower()
        elif isinstance(name, x509.IPAddress):
            yield "ip", str(name.value)
        else:
            yield "other", str(name.value)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _is_for_servers(certificate: x509.Certificate) -> bool:
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in uses


def _private_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(key_pem, password=None)
    is_fit = isinstance(key, rsa.RSAPrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    )
    if not is_fit or not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the key of a certificate is RSA, P-256 or P-384")
    return key


def _spki(key: object) -> bytes:
    if not hasattr(key, "public_bytes"):
        raise ValueError("its public key is of an unknown sort")
    spki: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return spki


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
