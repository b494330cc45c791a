"""What became of each version of a certificate, and why its next renewal is when it is. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from lifecycle.api.shapes.certificates import VersionAnswer
from lifecycle.certs.model import Cause
from lifecycle.certs.renewals import Source

CAUSES: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.REQUESTED: "Somebody asked for it",
        Cause.RENEWAL: "It was time to renew",
        Cause.WINDOW: "The authority wanted a renewal",
        Cause.KEY_COMPROMISE: "The key before it was disclosed",
    }
)
REASONS: Mapping[Source, str] = MappingProxyType(
    {
        Source.WINDOW: "The authority wants it renewed in a window of time, and one moment in it was drawn.",
        Source.FALLBACK: "The authority gives no advice, and most of its life is over then: two thirds, or half of one "
        "below ten days.",
        Source.SPREAD: "It was issued together with many, and they are renewed one after the other.",
        Source.FLOOR: "A twentieth of its life is left then, and it can wait no longer, whatever the authority says.",
        Source.MOVED: "Somebody moved it there.",
    }
)


class Step(NamedTuple):
    """A version, and what became of it.

    Attributes:
        state: `in use`, `replaced`, `revoked`, `expired` or `not served`.
        at: since when, or until when for the one in use; None where that is not known.
    """

    version: VersionAnswer
    cause: str
    state: str
    at: datetime | None


def steps(versions: Sequence[VersionAnswer], *, revoked_at: datetime | None, now: datetime) -> list[Step]:
    """What became of each version.

    Args:
        versions: newest first.
        revoked_at: since when the newest that was served is revoked.
        now: the present time.
    """
    found: list[Step] = []
    for place, version in enumerate(versions):
        follower = versions[place - 1] if place else None
        cause = CAUSES[version.cause]
        if version.in_use and revoked_at is None:
            found.append(Step(version, cause, "in use", version.not_after))
        elif follower is not None and not _is_before_the_used(versions, place):
            found.append(Step(version, cause, "replaced", follower.issued_at))
        elif revoked_at is not None and (version.in_use or place == 0):
            found.append(Step(version, cause, "revoked", revoked_at))
        elif version.not_after <= now:
            found.append(Step(version, cause, "expired", version.not_after))
        else:
            found.append(Step(version, cause, "not served", None))
    return found


def _is_before_the_used(versions: Sequence[VersionAnswer], place: int) -> bool:
    """Whether an older version is in use than the one at this place, which so was taken back."""
    return any(one.in_use for one in versions[place + 1 :])
