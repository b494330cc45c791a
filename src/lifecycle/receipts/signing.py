"""Receipts: a signed statement of what a purge removed, that anybody can verify with the published keys.

A receipt is a JWS (RFC 7515) in compact form, signed with ES256 (RFC 7518, section 3.4). The key is made when
it is first needed and stored sealed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.b64 import b64decode, b64encode
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC
from josepy.jws import JWS
from josepy.util import ComparableECKey

from lifecycle import clock
from lifecycle.db import Database
from lifecycle.errors import Code, LifecycleError
from lifecycle.receipts import store
from lifecycle.scheduler.model import PurgeOrder, ReceiptLine
from lifecycle.vault import Vault

_ISSUER = "lifecycle"


async def ensure_key(db: Database, vault: Vault) -> JWKEC:
    """The signing key; makes and stores it when there is none."""
    row = await store.oldest_key(db)
    if row is None:
        await _make_key(db, vault)
        row = await store.oldest_key(db)
    if row is None:
        raise LookupError("the signing key vanished while it was made")
    pem = vault.open(row.sealed_private_key, bound_to=bound_to(row.kid))
    private = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError(f"signing key {row.kid} is not an elliptic-curve key")
    return JWKEC(key=ComparableECKey(private))


async def sign(db: Database, vault: Vault, *, order: PurgeOrder, lines: Sequence[ReceiptLine], deleted_at: str) -> str:
    """The receipt of a purge, as compact JWS."""
    key = await ensure_key(db, vault)
    payload = {
        "iss": _ISSUER,
        "project": order.project.id,
        "slug": order.project.slug,
        "workspace": order.project.workspace,
        "generation": order.generation,
        "reason": order.reason,
        "requested_by": order.requested_by,
        "expedited_by": order.expedited_by,
        "scheduled_at": clock.rfc3339(order.scheduled_at),
        "due_at": clock.rfc3339(order.due_at),
        "started_at": clock.rfc3339(order.started_at),
        "deleted_at": deleted_at,
        "removed": [line.model_dump(mode="json") for line in lines],
    }
    signed = JWS.sign(
        json.dumps(payload, separators=(",", ":")).encode(),
        key=key,
        alg=ES256,
        kid=_kid(key),
        protect=frozenset({"alg", "kid"}),
    )
    return signed.to_compact().decode()


async def jwks(db: Database) -> dict[str, list[dict[str, Any]]]:
    """The public keys of all receipts, as a JWK set (RFC 7517)."""
    return {"keys": [{**row.public_jwk, "kid": row.kid, "use": "sig", "alg": "ES256"} for row in await store.keys(db)]}


def verify(receipt: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """What a receipt states.

    Args:
        receipt: compact JWS.
        keys: a JWK set.

    Raises:
        LifecycleError: `receipt_invalid`: not a receipt, signed by none of the keys, or changed.
    """
    signed, _, encoded_signature = receipt.strip().rpartition(".")
    encoded_header, _, encoded_payload = signed.partition(".")
    header, payload, signature = (_decode(part) for part in (encoded_header, encoded_payload, encoded_signature))
    try:
        stated, named = json.loads(payload), json.loads(header)
        algorithm, kid = named["alg"], named["kid"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _invalid("it is not a compact JWS") from error
    # The algorithm is ours to choose, never the receipt's (RFC 8725, section 3.1).
    if algorithm != "ES256":
        raise _invalid("it is not signed with ES256")
    if not ES256.verify(_published_key(keys, kid).key, signed.encode(), signature):
        raise _invalid("the signature does not match the content")
    return dict(stated)


def _decode(part: str) -> bytes:
    """The bytes of one part of a compact JWS; only the one text that encodes them counts, so none can be varied."""
    try:
        decoded = b64decode(part)
    except ValueError as error:
        raise _invalid("it is not a compact JWS") from error
    if not part or b64encode(decoded).decode() != part:
        raise _invalid("it is not a compact JWS")
    return decoded


def _published_key(keys: Mapping[str, Any], kid: object) -> JWKEC:
    try:
        known = [key for key in keys["keys"] if key["kid"] == kid]
        fields = {name: known[0][name] for name in ("kty", "crv", "x", "y")}
        key = JWK.from_json(fields)
    except IndexError as error:
        raise _invalid("its key is not among the published ones") from error
    except (KeyError, TypeError, JoseError) as error:
        raise _invalid("the published keys are not a JWK set for ES256") from error
    if not isinstance(key, JWKEC):
        raise _invalid("the published keys are not a JWK set for ES256")
    return key


def _invalid(problem: str) -> LifecycleError:
    return LifecycleError(Code.RECEIPT_INVALID, problem=problem)


async def _make_key(db: Database, vault: Vault) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    key = JWKEC(key=ComparableECKey(private))
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    await store.insert_key(
        db,
        store.SigningKey(
            kid=_kid(key),
            sealed_private_key=vault.seal(pem, bound_to=bound_to(_kid(key))),
            public_jwk=key.public_key().to_json(),
            created_at=clock.now(),
        ),
    )


def _kid(key: JWKEC) -> str:
    return b64encode(key.thumbprint()).decode()  # RFC 7638


def bound_to(kid: str) -> str:
    """What the private half of a key is sealed for."""
    return f"signing-key:{kid}"
