"""A certificate as it is handed to the gateway, and what keeps a bad one away from it. Pure.

One certificate that HAProxy cannot load keeps the whole gateway from starting, so nothing is written before it was
looked at here.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

# A host name, or a wildcard for one label below it (RFC 9525, 6.3). Such a name becomes part of a file's name, a
# word of the certificate list and of a command, so nothing else may be in it.
_NAME = r"^(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
_BLOCK = re.compile(
    r"-----BEGIN (CERTIFICATE|(?:[A-Z]+ )?PRIVATE KEY)-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END \1-----"
)
_LONGEST_NAMES = 15_000  # characters; HAProxy shows no more in one line, so that nobody could tell what it serves
_PARTS = ("name", "version", "names")


class UnusableCertificateError(ValueError):
    """The gateway cannot serve this certificate; repeating does not help."""


@dataclass(frozen=True)
class Bundle:
    """A certificate with all that is needed to serve it.

    Attributes:
        name: under which it is kept, such as `www.example.com` or `*.example.com`; one of `names`.
        version: of the certificate of this name; it only grows.
        pem: the leaf, its issuers, and the private key. It is not shown, and belongs into no log.
        names: for which it is offered; all of them are names of the leaf.
    """

    name: str
    version: int
    pem: bytes = field(repr=False)
    names: tuple[str, ...]


_CHECKED: TypeAdapter[tuple[str, int, tuple[str, ...]]] = TypeAdapter(
    tuple[
        Annotated[str, StringConstraints(pattern=_NAME)],
        Annotated[int, Field(ge=0, lt=1 << 53)],
        tuple[Annotated[str, StringConstraints(pattern=_NAME)], ...],
    ]
)


def checked(bundle: Bundle) -> str:
    """The PEM text to write: nothing but the certificates, and the key at the end.

    Raises:
        UnusableCertificateError: a name is none, or not one of the leaf; the PEM cannot be read; there is not
            exactly one key, or it is not the leaf's.
    """
    text, leaf = _checked(bundle)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        has = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    except (x509.ExtensionNotFound, ValueError):
        has = set()
    foreign = [name for name in bundle.names if name not in has]
    if foreign:
        raise UnusableCertificateError(f"the certificate is not for {foreign[0]}")
    if sum(len(name) + 1 for name in bundle.names) > _LONGEST_NAMES:
        raise UnusableCertificateError(f"its names have more than {_LONGEST_NAMES:,} characters together")
    if bundle.name not in bundle.names:
        raise UnusableCertificateError(f"{bundle.name} is none of the names that it is offered for")
    return text


def checked_proof(bundle: Bundle) -> str:
    """The same for the certificate of a challenge, which for an IP address names another thing than is asked for.

    Raises:
        UnusableCertificateError: as in `checked`.
    """
    return _checked(bundle)[0]


def _checked(bundle: Bundle) -> tuple[str, x509.Certificate]:
    try:
        _CHECKED.validate_python((bundle.name, bundle.version, bundle.names))
    except ValidationError as error:
        wrong = ", ".join(sorted({_PARTS[int(one["loc"][0])] for one in error.errors()}))
        raise UnusableCertificateError(f"the gateway does not take such a {wrong}") from None
    certificates, key = _blocks(bundle.pem)
    try:
        leaf, *_ = x509.load_pem_x509_certificates(certificates.encode())
        public = serialization.load_pem_private_key(key.encode(), password=None).public_key()
        same = _plain(public) == _plain(leaf.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # What went wrong may quote the text, and with it the key.
        raise UnusableCertificateError("the certificate or its key cannot be read") from None
    if not same:
        raise UnusableCertificateError("the private key is not the certificate's")
    return certificates + key, leaf


def _blocks(pem: bytes) -> tuple[str, str]:
    """The certificates, and the key."""
    text = pem.decode("ascii", errors="replace").replace("\r", "")
    found = [(block[1], f"{block[0]}\n") for block in _BLOCK.finditer(text)]
    certificates = "".join(block for label, block in found if label == "CERTIFICATE")
    keys = [block for label, block in found if label != "CERTIFICATE"]
    if not certificates or len(keys) != 1:
        raise UnusableCertificateError("a certificate and exactly one private key are needed, as PEM")
    return certificates, keys[0]


def _plain(key: CertificatePublicKeyTypes | PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
