"""Cursors: opaque to the caller, readable to us."""

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import TypeAdapter, ValidationError

from lifecycle.api.problems import invalid_parameter
from lifecycle.api.shapes.base import Moment
from lifecycle.errors import LifecycleError

Limit = Annotated[int, Query(ge=1, le=1000, description="Most items in one answer.")]
Cursor = Annotated[
    str | None, Query(max_length=1000, description="`next_cursor` of the former answer, to go on behind it.")
]
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


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
        raise _no_cursor() from error
    if not isinstance(position, list) or [type(part) for part in position] != [str] * parts:
        raise _no_cursor()
    return position


def moment(part: str) -> datetime:
    """The time in a part of a cursor.

    Raises:
        LifecycleError: `invalid_request`, as from `decode`.
    """
    try:
        return _MOMENT.validate_python(part)
    except ValidationError as error:
        raise _no_cursor() from error


def number(part: str) -> int:
    """The number in a part of a cursor.

    Raises:
        LifecycleError: `invalid_request`, as from `decode`.
    """
    if not part.isdigit() or not part.isascii():
        raise _no_cursor()
    return int(part)


def _no_cursor() -> LifecycleError:
    return invalid_parameter("cursor", "not a cursor of this list")
