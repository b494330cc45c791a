"""SQL: the keys that sign receipts."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from lifecycle.db import Database, Row


class SigningKey(NamedTuple):
    """A key; the private half is sealed."""

    kid: str
    sealed_private_key: str
    public_jwk: dict[str, Any]
    created_at: datetime


async def keys(db: Database) -> Sequence[SigningKey]:
    """All keys, oldest first."""
    return [_key(row) for row in await db.all("SELECT * FROM signing_keys ORDER BY created_at, kid")]


async def oldest_key(db: Database) -> SigningKey | None:
    """The key that signs: the oldest, so that two workers which both made one agree."""
    row = await db.one("SELECT * FROM signing_keys ORDER BY created_at, kid LIMIT 1")
    return None if row is None else _key(row)


async def insert_key(db: Database, key: SigningKey) -> None:
    """Store a new key."""
    await db.execute(
        "INSERT INTO signing_keys (kid, sealed_private_key, public_jwk, created_at) VALUES (%s, %s, %s, %s)",
        key.kid,
        key.sealed_private_key,
        json.dumps(key.public_jwk),
        key.created_at,
    )


def _key(row: Row) -> SigningKey:
    return SigningKey(row["kid"], row["sealed_private_key"], json.loads(row["public_jwk"]), row["created_at"])
