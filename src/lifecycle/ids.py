"""Identifiers, parsed once at the border; inside they are trusted.

An id is a prefix and 26 characters of lower-case Crockford base32: a ULID, sortable by creation time, or a
digest when the id must follow from a request's idempotency key.
"""

import hashlib
import re
from typing import Annotated

from pydantic import StringConstraints
from ulid import ULID

_PROJECT_ID = re.compile(r"prj_[0-9a-hjkmnp-tv-z]{26}")

# RFC 1035 label with room for the suffixes that deployment domains append (63 in all).
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
HoldName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$")]


def new(prefix: str) -> str:
    """A fresh id such as `prj_01k…`; at the border only, since replays would make another one."""
    return f"{prefix}_{str(ULID()).lower()}"


def derived(prefix: str, *parts: str) -> str:
    """The id that always follows from `parts`, for requests that carry an idempotency key."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return f"{prefix}_{str(ULID.from_bytes(bytes([digest[0] & 0x7F]) + digest[1:16])).lower()}"


def is_project_id(text: str) -> bool:
    """Whether `text` has the form of a project id, and so is safe as an object key."""
    return _PROJECT_ID.fullmatch(text) is not None
