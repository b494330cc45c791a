"""What a decision leaves behind: an audit row, and the rows of the projections it changed."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue

from lifecycle.models import Actor, Durable

SYSTEM = "lifecycle"  # the person of whatever the service does by itself


class ActionState(StrEnum):
    """Where a pending action stands."""

    PENDING = "pending"
    BLOCKED = "blocked"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether something is still to come."""
        return self in (ActionState.PENDING, ActionState.BLOCKED, ActionState.RUNNING)


class ActionRow(Durable):
    """A pending action as people see it. Its public id is `{kind}/{subject}`; `label` is what they call it."""

    kind: str
    subject: str
    label: str
    state: ActionState
    due_at: datetime
    generation: int
    reason: str
    requested_by: str

    @property
    def id(self) -> str:
        """The public id."""
        return f"{self.kind}/{self.subject}"


class ProjectRow(Durable):
    """What the list of projects shows and a decision may change."""

    state: str
    generation: int
    name: str
    protected: bool


class DeploymentRow(Durable):
    """What a decision says of a deployment."""

    id: str
    status: str
    message: str
    sequence: int = 0


class CertificateRow(Durable):
    """What the list of certificates shows of a domain."""

    domain: str
    names: tuple[str, ...]
    challenge: str
    status: str
    next_renewal_at: datetime | None = None
    last_error: str = ""


class Entry(Durable):
    """One transition.

    Attributes:
        id: follows from the object and its sequence, so that recording twice changes nothing.
        sequence: grows with each transition of one object; an older one never overwrites a newer projection.
        cancel_generation: set on reminders: the generation that their cancel link may cancel.
    """

    id: str
    sequence: int
    workspace: str
    project: str | None = None
    action: str
    actor: Actor | None = None
    at: datetime
    detail: Mapping[str, JsonValue] = {}
    pending_action: ActionRow | None = None
    project_row: ProjectRow | None = None
    deployment_rows: tuple[DeploymentRow, ...] = ()
    certificate_row: CertificateRow | None = None
    cancel_generation: int | None = None
