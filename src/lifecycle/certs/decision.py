"""A decision about a certificate: the new state, and what must follow from it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from lifecycle.certs.model import Assignment, Certificate
from lifecycle.models import Actor


class Issue(NamedTuple):
    """Begin an issuance, or go on with it."""

    assignment: Assignment


class Halt(NamedTuple):
    """Tell an issuance that it is not wanted any more."""

    key: str


class Abandon(NamedTuple):
    """Let go of an issuance that nobody goes on with: its order is given up at the CA, and its key destroyed.

    Attributes:
        why: it made no headway; for people.
    """

    issuance: str
    why: str = ""


class Rouse(NamedTuple):
    """Be woken when the countdown wants it."""


class LookLater(NamedTuple):
    """Be woken when the CA's renewal window is to be read again."""


class Look(NamedTuple):
    """Read the CA's renewal window."""

    ca: str
    certificate_id: str


class Recall(NamedTuple):
    """Have a version revoked by the CA."""

    id: str
    number: int
    reason: int


Effect = Issue | Halt | Abandon | Rouse | LookLater | Look | Recall


class Transition(NamedTuple):
    """Something that happened and belongs into the audit log."""

    action: str
    at: datetime
    actor: Actor | None = None
    detail: Mapping[str, JsonValue] = {}


class Decision(NamedTuple):
    """The new state, what must follow from it in this order, and what is to be recorded."""

    certificate: Certificate
    effects: tuple[Effect, ...] = ()
    transitions: tuple[Transition, ...] = ()
