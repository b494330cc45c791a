"""The key pair with which a private engine proves itself to the worker (Restate request identity)."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lifecycle import secret_files

# The alphabet of base58, in which Restate writes public keys.
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def ensure(private_key: Path) -> str:
    """Make the key pair unless it is there; returns the public key as `publickeyv1_…`."""
    key = serialization.load_pem_private_key(secret_files.ensure(private_key, _new_pem).encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{private_key} is not an Ed25519 key")
    return "publickeyv1_" + _base58(key.public_key().public_bytes_raw())


def _new_pem() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _base58(raw: bytes) -> str:
    number = int.from_bytes(raw)
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return "1" * zeros + digits
