"""What became of a TXT record, as values for the journal. None holds a secret.

The field `verdict` tells members of a union apart when they are read back.
"""

from enum import StrEnum
from typing import Literal

from lifecycle.models import Durable


class Reason(StrEnum):
    """Why a record cannot be changed until somebody changes something else."""

    NO_ZONE = "no_zone"
    NO_CREDENTIALS = "no_credentials"
    REFUSED = "refused"


class Published(Durable):
    """The provider has taken the value, or had it already.

    Attributes:
        record: the name that got it, where CNAMEs lead; without a dot at the end.
        zone: the zone of ours that this is in. Both are what `remove` wants.
    """

    verdict: Literal["published"] = "published"
    record: str
    zone: str


class Removed(Durable):
    """The provider no longer has the value; other values of the record are as they were."""

    verdict: Literal["removed"] = "removed"
    record: str
    zone: str


class Unpublishable(Durable):
    """No repetition helps: somebody must set something.

    Attributes:
        why: sentences for people, with what to set.
    """

    verdict: Literal["unpublishable"] = "unpublishable"
    reason: Reason
    why: str


class Unreachable(Durable):
    """Nobody who knows answered; the same call may work later. It may have been carried out, and may be repeated.

    Attributes:
        why: a sentence for people.
    """

    verdict: Literal["unreachable"] = "unreachable"
    why: str


class Visible(Durable):
    """Every authoritative server has the value.

    Attributes:
        servers: their names.
    """

    verdict: Literal["visible"] = "visible"
    record: str
    servers: tuple[str, ...]


class NotVisible(Durable):
    """At least one authoritative server does not have the value yet, or does not answer.

    Attributes:
        why: a sentence for people, about each of them.
    """

    verdict: Literal["not_visible"] = "not_visible"
    record: str
    why: str
