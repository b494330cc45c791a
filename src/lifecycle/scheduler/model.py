"""What the engine keeps of a project and its deletion, and the messages that change it. Pure.

These are wire formats: a delayed message outlives the release that sent it (see `models.Durable`).
"""

from datetime import datetime
from enum import StrEnum

from lifecycle.models import Actor, Durable
from lifecycle.scheduler.countdown import Countdown


class Phase(StrEnum):
    """Where a deletion stands; `none` before the first one and after a cancel."""

    NONE = "none"
    SCHEDULED = "scheduled"
    PURGING = "purging"
    DELETED = "deleted"


class Traffic(StrEnum):
    """What happens to requests during the grace."""

    SUSPEND = "suspend"
    SERVE = "serve"


class Compute(StrEnum):
    """What happens to instances during the grace."""

    KEEP = "keep"
    STOP = "stop"


class Project(Durable):
    """The project itself (state key `project`). `deployed`: it has had deployments, which follow its deletion."""

    id: str
    workspace: str
    slug: str
    name: str
    protected: bool = False
    created_at: datetime
    deployed: bool = False


class Impact(Durable):
    """What a purge would remove, counted when it was asked for, and what a cancel would bring back."""

    environments: int = 0
    deployments: int = 0
    instances: int = 0
    domains: int = 0
    certificates: int = 0
    rows: int = 0
    restored_by_cancel: tuple[str, ...] = ()


class Hold(Durable):
    """A named reason that stops a deletion from firing."""

    name: str
    reason: str
    placed_by: str
    placed_at: datetime


class Reminder(Durable):
    """A notice before the end; `sent_at` is None until it went out."""

    at: datetime
    sent_at: datetime | None = None


class Cancellation(Durable):
    """The outcome of the last cancel, for whoever cancels twice."""

    generation: int
    cancelled_at: datetime
    cancelled_by: str


class Deletion(Durable):
    """Everything about the deletion of one project (state key `deletion`).

    `sequence` numbers the transitions: it makes each audit entry's id, so that a handler which the engine ran
    twice is recorded once.
    """

    phase: Phase = Phase.NONE
    countdown: Countdown = Countdown()
    sequence: int = 0
    scheduled_at: datetime | None = None
    grace_seconds: float | None = None
    reason: str = ""
    requested_by: Actor | None = None
    expedited_by: Actor | None = None
    traffic: Traffic = Traffic.SUSPEND
    compute: Compute = Compute.KEEP
    impact: Impact | None = None
    reminders: tuple[Reminder, ...] = ()
    holds: tuple[Hold, ...] = ()
    authority_lost: bool = False
    cancellation: Cancellation | None = None
    started_at: datetime | None = None
    deleted_at: datetime | None = None
    purge_attempt: int = 1

    @property
    def generation(self) -> int:
        """The fence of the present countdown, shown as ETag."""
        return self.countdown.generation

    @property
    def project_state(self) -> str:
        """The state of the project that follows from its deletion."""
        return "active" if self.phase is Phase.NONE else self.phase.value

    @property
    def blocked_by(self) -> tuple[str, ...]:
        """The names of what stops the deletion from firing."""
        return tuple(hold.name for hold in self.holds) + (("authority",) if self.authority_lost else ())


class Limits(Durable):
    """The bounds of `settings` that the rules need, in seconds."""

    grace_seconds: float
    min_grace_seconds: float
    max_grace_seconds: float
    release_notice_seconds: float
    expedite_floor_seconds: float


class Read(Durable):
    """Ask for something without changing it."""

    workspace: str


class Command(Durable):
    """What every request to change something carries.

    `now` is the clock of our own API, so that the handler need not ask the engine; `generation` is If-Match.
    """

    actor: Actor
    now: datetime
    generation: int | None = None


class CreateProject(Command):
    """Make a project."""

    slug: str
    name: str


class ConfigureProject(Command):
    """Change settings of a project; what is None stays."""

    name: str | None = None
    protected: bool | None = None


class ScheduleDeletion(Command):
    """Delete later. Neither grace nor due_at means the default grace."""

    confirm: str
    reason: str
    grace_seconds: float | None = None
    due_at: datetime | None = None
    traffic: Traffic = Traffic.SUSPEND
    compute: Compute = Compute.KEEP
    impact: Impact = Impact()


class CancelDeletion(Command):
    """Do not delete."""


class RescheduleDeletion(Command):
    """Move the due time."""

    grace_seconds: float | None = None
    due_at: datetime | None = None


class ExpediteDeletion(Command):
    """Delete as soon as the floor allows; needs a second administrator."""


class PlaceHold(Command):
    """Stop the deletion from firing for a named reason."""

    name: str
    reason: str


class ReleaseHold(Command):
    """Take a hold away."""

    name: str


class Wake(Durable):
    """A wake-up. It carries the generation and nothing else, so every later release understands it."""

    generation: int


class Settle(Durable):
    """A purge reports that it is finished."""

    generation: int
    deleted_at: datetime


class PurgeOrder(Durable):
    """All that a purge needs to know; decided when the deletion began."""

    project: Project
    generation: int
    reason: str
    requested_by: str
    expedited_by: str | None = None
    scheduled_at: datetime
    due_at: datetime
    started_at: datetime


class Cancelled(Durable):
    """The answer to a cancel."""

    outcome: str = "cancelled"
    generation: int
    cancelled_at: datetime


class Scheduled(Durable):
    """The answer to a schedule."""

    deletion: Deletion
    already_scheduled: bool = False


class ReceiptLine(Durable):
    """What one step of a purge removed. `count` is what was found before; `evidence` says how it is known gone."""

    subsystem: str
    count: int
    finished_at: datetime
    evidence: str


class PurgeProgress(Durable):
    """How far a purge is (state key `progress`). `step` is None when it is finished."""

    generation: int
    step: str | None
    lines: tuple[ReceiptLine, ...] = ()
