"""A decision about the deployments of a project: the new state, and what must follow from it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from lifecycle.deploy.model import Activation, Fleet, Spec, Switch
from lifecycle.models import Actor


class Roll(NamedTuple):
    """Begin a rollout."""

    spec: Spec


class Halt(NamedTuple):
    """Tell a rollout that it is not wanted any more."""

    deployment: str


class Tell(NamedTuple):
    """Tell a rollout what became of its request to go live."""

    deployment: str
    activation: Activation


class Turn(NamedTuple):
    """Order the routes."""

    switch: Switch


class Stand(NamedTuple):
    """Begin the standby of a deployment, which ends with its stop."""

    deployment: str


class Keep(NamedTuple):
    """End the standby of a deployment; it goes on running."""

    deployment: str


class Rest(NamedTuple):
    """Stop and remove the instances of a deployment."""

    deployment: str


class Rouse(NamedTuple):
    """Start the instances of a deployment again; the answer bears the same number."""

    deployment: str
    number: int


class Suspend(NamedTuple):
    """Let the project's hosts say that it will be deleted."""

    due_at: datetime


class Resume(NamedTuple):
    """Let the project's hosts serve again."""


Effect = Roll | Halt | Tell | Turn | Stand | Keep | Rest | Rouse | Suspend | Resume


class Transition(NamedTuple):
    """Something that happened and belongs into the audit log."""

    action: str
    deployment: str
    at: datetime
    actor: Actor | None = None
    detail: Mapping[str, JsonValue] = {}


class Decision(NamedTuple):
    """The new state, what must follow from it in this order, and what is to be recorded."""

    fleet: Fleet
    effects: tuple[Effect, ...] = ()
    transitions: tuple[Transition, ...] = ()

    def then(self, other: "Decision") -> "Decision":
        """This, and then the other, which was decided upon this one's state."""
        return Decision(other.fleet, self.effects + other.effects, self.transitions + other.transitions)

    def noting(self, transition: Transition) -> "Decision":
        """The same, with one more thing to record."""
        return self._replace(transitions=(*self.transitions, transition))
