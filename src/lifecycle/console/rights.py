"""What a visitor may do, so that pages offer nothing that is refused anyway."""

from enum import StrEnum
from typing import NamedTuple

from lifecycle.models import Actor, Role
from lifecycle.scheduler import entries


class May(NamedTuple):
    """By role. What a form then does is checked again by whoever does it.

    Attributes:
        operate: deploy, cancel, add domains, place holds.
        administer: delete, move a deletion, release holds.
    """

    operate: bool
    administer: bool


class Verb(StrEnum):
    """What can be done with a pending action."""

    CANCEL = "cancel"
    MOVE = "move"
    RUN = "run"


def of(actor: Actor) -> May:
    """What somebody may do."""
    return May(actor.role.includes(Role.OPERATOR), actor.role.includes(Role.ADMINISTRATOR))


def needs(kind: str, verb: Verb) -> Role:
    """The role that something takes: a cancel is for every operator, but a deletion is an administrator's to hasten."""
    return Role.ADMINISTRATOR if kind == entries.KIND and verb is not Verb.CANCEL else Role.OPERATOR
