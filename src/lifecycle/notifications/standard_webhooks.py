"""Signatures of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com).

A receiver verifies them with any of that project's libraries and the secret, `whsec_` and base64.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

_PREFIX = "whsec_"
_SECRET_BYTES = 32  # between 24 and 64, as the specification says of symmetric secrets


def new_secret() -> str:
    """A fresh secret, in the form in which receivers take it."""
    return f"{_PREFIX}{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def headers(message_id: str, body: bytes, *, at: datetime, signed_by: Sequence[str]) -> Mapping[str, str]:
    """The headers of one attempt.

    Args:
        message_id: the same in every attempt; receivers know by it what they have had already.
        body: what is sent, byte by byte.
        at: now; receivers refuse what is older than a few minutes, so that nobody can replay it.
        signed_by: the secrets; while one replaces another there are two, and either verifies.
    """
    timestamp = str(int(at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in signed_by),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
