"""Cursors: opaque to the caller, readable to us."""

import base64
import binascii
import json
from typing import Annotated

from fastapi import Query

from lifecycle.api.problems import invalid

Limit = Annotated[int, Query(ge=1, le=1000, description="Most items in one answer.")]
Cursor = Annotated[
    str | None, Query(max_length=1000, description="`next_cursor` of the former answer, to go on behind it.")
]


def encode(*position: str) -> str:
    """A cursor behind this position."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode(cursor: str, *, parts: int) -> list[str]:
    """The position in a cursor.

    Raises:
        LifecycleError: `invalid_request` for anything that `encode` did not make.
    """
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        json.dumps(position, ensure_ascii=False).encode()
    except (binascii.Error, ValueError, RecursionError) as error:
        raise invalid("cursor", "not a cursor of this list") from error
    if not isinstance(position, list) or [type(part) for part in position] != [str] * parts:
        raise invalid("cursor", "not a cursor of this list")
    return position
