"""Who signs a request, and how (RFC 8555, section 6.2)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from josepy import json_util, jwa, jwk
from josepy.errors import DeserializationError

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_ALGORITHMS: Mapping[str | None, jwa.JWASignature] = MappingProxyType(
    {"RSA": jwa.RS256, "P-256": jwa.ES256, "P-384": jwa.ES384}
)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs a request.

    Attributes:
        key: PEM of the private key: RSA, P-256 or P-384.
        account: URL of the account; None signs with the bare key, as for a new account, or a revocation by the key of
            the certificate itself.
    """

    key: bytes = field(repr=False)
    account: str | None = None

    @property
    def jwk(self) -> jwk.JWK:
        """The key as JOSE has it."""
        return _loaded(self.key)


@lru_cache(maxsize=64)
def _loaded(key: bytes) -> jwk.JWK:
    """The key, parsed once for its many requests."""
    return jwk.JWK.load(key)


def nonce_in(headers: Mapping[str, str]) -> bytes | None:
    """The nonce that came with an answer; one that is not base64url is ignored (RFC 8555, section 6.5.1)."""
    text = headers.get("Replay-Nonce", "")
    try:
        return json_util.decode_b64jose(text) if _BASE64URL.fullmatch(text) else None
    except DeserializationError:
        return None


def signed(signer: Signer, url: str, body: bytes, *, nonce: bytes | None) -> str:
    """The JWS of a request (RFC 8555, section 6.2), with the account's URL or else the public key.

    Put together here, since `acme.jws` takes twice the time for it, which adds up over an issuance.
    """
    key, made_by = signer.jwk, algorithm(signer.jwk)
    header: dict[str, Any] = {"alg": made_by.name, "url": url}
    if nonce is not None:
        header["nonce"] = json_util.encode_b64jose(nonce)
    header |= {"jwk": key.public_key().to_json()} if signer.account is None else {"kid": signer.account}
    protected, payload = json_util.encode_b64jose(json.dumps(header).encode()), json_util.encode_b64jose(body)
    signature = made_by.sign(key.key, f"{protected}.{payload}".encode())
    return json.dumps({"protected": protected, "payload": payload, "signature": json_util.encode_b64jose(signature)})


def algorithm(key: jwk.JWK) -> jwa.JWASignature:
    """The signature algorithm of a key.

    Raises:
        ValueError: no CA takes keys of this sort.
    """
    if isinstance(key, jwk.JWKRSA):
        return _ALGORITHMS["RSA"]
    curve = key.fields_to_partial_json().get("crv") if isinstance(key, jwk.JWKEC) else None
    if curve not in _ALGORITHMS:
        raise ValueError("an account key is RSA, P-256 or P-384")
    return _ALGORITHMS[curve]
