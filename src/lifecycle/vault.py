"""Seals secrets for storage and opens them again: AES-256-GCM envelopes under a ring of keys.

Each secret gets a data key of its own; the data key is wrapped by a key-encryption key (KEK). Rotation
replaces the wrapping only (`rewrap`). Both layers are bound to what the secret belongs to, so a sealed value
that was moved to another row does not open.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D, section 8.2: 96 bits


class VaultError(Exception):
    """A value could not be opened, or the key ring is not usable."""


class Vault:
    """A ring of key-encryption keys.

    Args:
        ring: KEKs of 32 bytes by name; the first seals, all open.
    """

    def __init__(self, ring: Mapping[str, bytes]) -> None:
        if not ring:
            raise VaultError("it has no key")
        for name, key in ring.items():
            if len(key) != _KEY_BYTES:
                raise VaultError(f"key {name} has {len(key)} bytes instead of {_KEY_BYTES}")
        self._ring = dict(ring)
        self._active = next(iter(ring))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The vault for a ring written as `name:base64` lines; blank lines and `#` comments are skipped."""
        ring: dict[str, bytes] = {}
        for line in text.splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, colon, encoded = line.strip().partition(":")
            if not colon or not name:
                raise VaultError("a line is not of the form name:base64")
            if name in ring:
                raise VaultError(f"two keys are called {name}")
            try:
                ring[name] = base64.b64decode(encoded, validate=True)
            except binascii.Error as error:
                raise VaultError(f"key {name} is not base64") from error
        return cls(ring)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the keys; the first one seals."""
        return tuple(self._ring)

    def sealed_by(self, sealed: str) -> str:
        """The name of the key that `sealed` needs; empty when it is no sealed value."""
        try:
            return self._parse(sealed)["key"]
        except VaultError:
            return ""

    def seal(self, secret: bytes, *, bound_to: str) -> str:
        """`secret`, encrypted; opens only with the same `bound_to`."""
        data_key = os.urandom(_KEY_BYTES)
        return self._envelope(data_key, _encrypt(data_key, secret, bound_to), bound_to)

    def open(self, sealed: str, *, bound_to: str) -> bytes:
        """The secret in `sealed`.

        Raises:
            VaultError: changed, bound to something else, or sealed under a key that is not in the ring.
        """
        envelope = self._parse(sealed)
        return _decrypt(self._data_key(envelope, bound_to), envelope["secret"], bound_to)

    def rewrap(self, sealed: str, *, bound_to: str) -> str:
        """The same secret under the active key; `sealed` itself when it already is."""
        envelope = self._parse(sealed)
        if envelope["key"] == self._active:
            return sealed
        return self._envelope(self._data_key(envelope, bound_to), envelope["secret"], bound_to)

    def _envelope(self, data_key: bytes, secret: str, bound_to: str) -> str:
        wrapped = _encrypt(self._ring[self._active], data_key, bound_to)
        return json.dumps({"key": self._active, "wrapped": wrapped, "secret": secret}, separators=(",", ":"))

    def _data_key(self, envelope: Mapping[str, str], bound_to: str) -> bytes:
        kek = self._ring.get(envelope["key"])
        if kek is None:
            raise VaultError(f"key {envelope['key']} is not in the key ring")
        return _decrypt(kek, envelope["wrapped"], bound_to)

    @staticmethod
    def _parse(sealed: str) -> Mapping[str, str]:
        try:
            envelope = json.loads(sealed)
            return {name: str(envelope[name]) for name in ("key", "wrapped", "secret")}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise VaultError("not a sealed value") from error


def new_ring_line(name: str) -> str:
    """A line with a fresh key for the key ring."""
    return f"{name}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}"


def _encrypt(key: bytes, plain: bytes, bound_to: str) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, plain, bound_to.encode())).decode()


def _decrypt(key: bytes, encoded: str, bound_to: str) -> bytes:
    try:
        raw = base64.b64decode(encoded, validate=True)
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError) as error:
        raise VaultError("the sealed value was changed, or belongs to something else") from error
