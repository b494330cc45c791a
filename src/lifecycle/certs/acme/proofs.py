"""What must be found where a CA looks (RFC 8555, section 8; RFC 8737 for TLS-ALPN-01)."""

import hashlib
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import json_util

from lifecycle.certs.acme.signing import Signer
from lifecycle.certs.names import Identifier

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737, section 3
_DER_OCTETS = bytes((0x04, 0x20))  # an OCTET STRING of 32 bytes
_VALID = timedelta(days=7)


def key_authorization(signer: Signer, token: str) -> str:
    """What HTTP-01 must find at `/.well-known/acme-challenge/{token}`; the others derive from it. Not a secret."""
    thumbprint = signer.jwk.thumbprint(hash_function=hashes.SHA256)
    return f"{token}.{json_util.encode_b64jose(thumbprint)}"


def dns_value(authorization: str) -> str:
    """What the TXT record must hold for this key authorization."""
    return json_util.encode_b64jose(hashlib.sha256(authorization.encode()).digest())


def validation_name(identifier: Identifier) -> str:
    """The name of the TXT record, without a dot at the end; a wildcard has that of the name below its asterisk."""
    return f"_acme-challenge.{identifier.value.removeprefix('*.')}"


def tls_alpn_certificate(identifier: Identifier, authorization: str, *, now: datetime) -> tuple[bytes, bytes]:
    """What a TLS handshake with the protocol `acme-tls/1` must find: PEM of a certificate, and of its key.

    The key proves nothing and protects nothing; it is thrown away with the challenge.

    Args:
        identifier: what is to be proved; the TLS name is its value, for an IP address its name below `arpa`.
        authorization: the key authorization.
        now: it is valid for a week around.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
    subject: x509.GeneralName = (
        x509.IPAddress(ip_address(identifier.value)) if identifier.type == "ip" else x509.DNSName(identifier.value)
    )
    digest = _DER_OCTETS + hashlib.sha256(authorization.encode()).digest()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
