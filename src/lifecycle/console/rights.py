"""What a visitor may do, so that pages offer nothing that is refused anyway."""

from typing import NamedTuple

from lifecycle.models import Actor, Role


class May(NamedTuple):
    """By role. What a form then does is checked again by whoever does it.

    Attributes:
        operate: deploy, cancel, add domains, place holds.
        administer: delete, move a deletion, release holds.
    """

    operate: bool
    administer: bool


def of(actor: Actor) -> May:
    """What somebody may do."""
    return May(actor.role.includes(Role.OPERATOR), actor.role.includes(Role.ADMINISTRATOR))
