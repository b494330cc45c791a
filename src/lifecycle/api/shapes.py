"""What goes in and out over HTTP. Fields may be added, none renamed; unknown ones in a request are refused."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
)

from lifecycle.durations import Duration
from lifecycle.ids import Slug
from lifecycle.ledger.entry import ActionState
from lifecycle.models import Role
from lifecycle.scheduler.model import Compute, Deletion, Impact, Phase, PurgeProgress, ReceiptLine, Traffic

# Printable text of any language; control characters would garble logs and terminals.
_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$")]


def _only_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("not a time; write RFC 3339 with an offset, such as 2026-11-24T09:00:00Z")  # noqa: TRY004
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_only_text)]

_PROJECT = "prj_01kahv3q5jc1s6v0n8w2k4m7xz"
_DUE = "2026-11-24T09:00:00.000Z"


class Asked(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class NewProject(Asked):
    """A project to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"slug": "shop", "name": "Web shop"}]})

    slug: Slug = Field(description="Its name in addresses: a DNS label of at most 40 characters.")
    name: Name | None = Field(default=None, description="Its name for people; the slug when left out.")


class ProjectChange(Asked):
    """Settings to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"protected": True}]})

    name: Name | None = None
    protected: StrictBool | None = Field(default=None, description="Whether deletions are refused.")


class ProjectAnswer(Answer):
    """A project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _PROJECT,
                    "slug": "shop",
                    "name": "Web shop",
                    "state": "active",
                    "protected": False,
                    "environments": ["production", "preview"],
                    "created_at": "2026-11-21T09:00:00.000Z",
                }
            ]
        }
    )

    id: str
    slug: str
    name: str
    state: Literal["active", "scheduled", "purging", "deleted"]
    protected: bool
    environments: tuple[str, ...]
    created_at: datetime


class NewDeletion(Asked):
    """A deletion to schedule."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"grace": "72h", "reason": "replaced by shop2", "confirm": "shop"}]}
    )

    grace: Duration | None = Field(default=None, description="Time to change one's mind: `72h`, `3d`, `P3D`.")
    due_at: Moment | None = Field(default=None, description="Instead of grace: when, in RFC 3339.")
    reason: Reason | None = Field(default=None, description="Why; required unless dry_run.")
    confirm: str | None = Field(
        default=None, max_length=200, description="The project's slug, typed again; required unless dry_run."
    )
    traffic: Traffic = Field(default=Traffic.SUSPEND, description="What requests get during the grace.")
    compute: Compute = Field(default=Compute.KEEP, description="Whether instances stay warm meanwhile.")
    dry_run: StrictBool = Field(default=False, description="Only say what would be removed.")


class DeletionMove(Asked):
    """A new due time: grace from now, or a moment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace": "5d"}]})

    grace: Duration | None = None
    due_at: Moment | None = None


class NewHold(Asked):
    """Why a deletion must not fire."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "legal case 17"}]})

    reason: Reason


class HoldAnswer(Answer):
    """A hold."""

    name: str
    reason: str
    placed_by: str
    placed_at: datetime


class ReminderAnswer(Answer):
    """A reminder; `sent_at` is null until it went out."""

    at: datetime
    sent_at: datetime | None


class CancelAnswer(Answer):
    """A cancel that is final: this generation will not be carried out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"outcome": "cancelled", "generation": 1, "cancelled_at": "2026-11-21T10:00:00.000Z"}]
        }
    )

    outcome: Literal["cancelled"]
    generation: int
    cancelled_at: datetime


class PurgeAnswer(Answer):
    """How far a purge is; `step` is null when it is finished."""

    step: str | None
    removed: tuple[ReceiptLine, ...]


class DeletionAnswer(Answer):
    """A deletion, scheduled or not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "project": _PROJECT,
                    "phase": "scheduled",
                    "due_at": _DUE,
                    "generation": 1,
                    "grace_seconds": 259200,
                    "reason": "replaced by shop2",
                    "requested_by": "ada@example.com",
                    "expedited_by": None,
                    "scheduled_at": "2026-11-21T09:00:00.000Z",
                    "blocked_by": [],
                    "holds": [],
                    "traffic": "suspend",
                    "compute": "keep",
                    "impact": {
                        "environments": 2,
                        "deployments": 0,
                        "instances": 0,
                        "domains": 1,
                        "certificates": 0,
                        "rows": 4,
                        "restored_by_cancel": ["traffic", "settings", "domains", "environments"],
                    },
                    "reminders": [
                        {"at": "2026-11-23T09:00:00.000Z", "sent_at": None},
                        {"at": "2026-11-24T08:00:00.000Z", "sent_at": None},
                    ],
                    "cancelled": None,
                    "started_at": None,
                    "deleted_at": None,
                    "purge": None,
                    "stale_wakeups": 0,
                    "already_scheduled": False,
                }
            ]
        }
    )

    project: str
    phase: Phase
    due_at: datetime | None
    generation: int
    grace_seconds: float | None
    reason: str
    requested_by: str | None
    expedited_by: str | None
    scheduled_at: datetime | None
    blocked_by: tuple[str, ...]
    holds: tuple[HoldAnswer, ...]
    traffic: Traffic
    compute: Compute
    impact: Impact | None
    reminders: tuple[ReminderAnswer, ...]
    cancelled: CancelAnswer | None
    started_at: datetime | None
    deleted_at: datetime | None
    purge: PurgeAnswer | None = None
    stale_wakeups: int
    already_scheduled: bool = False


class DryRunAnswer(Answer):
    """What a deletion would remove; nothing was scheduled."""

    project: str
    slug: str
    dry_run: Literal[True] = True
    impact: Impact


class ActionAnswer(Answer):
    """A pending action. Its generation is also its ETag."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": f"project-deletion/{_PROJECT}",
                    "kind": "project-deletion",
                    "key": _PROJECT,
                    "label": "shop",
                    "project": _PROJECT,
                    "due_at": _DUE,
                    "state": "pending",
                    "generation": 1,
                    "reason": "replaced by shop2",
                    "requested_by": "ada@example.com",
                }
            ]
        }
    )

    id: str
    kind: str
    key: str
    label: str
    project: str | None
    due_at: datetime
    state: ActionState
    generation: int
    reason: str
    requested_by: str


class ActionSelection(Asked):
    """Which actions a bulk cancel means."""

    kind: str | None = Field(default=None, max_length=40)
    project: str | None = Field(default=None, max_length=63)
    due_before: Moment | None = None
    due_after: Moment | None = None


class BulkCancel(Asked):
    """Actions to cancel: by id, or all that a filter selects."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [f"project-deletion/{_PROJECT}"]}]})

    ids: list[Annotated[str, StringConstraints(max_length=320)]] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    filter: ActionSelection | None = None


class BulkOutcome(Answer):
    """What became of one action."""

    id: str
    outcome: Literal["cancelled", "refused"]
    generation: int | None = None
    code: str | None = None
    detail: str | None = None
    hint: str | None = None


class BulkAnswer(Answer):
    """An outcome per action."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"id": f"project-deletion/{_PROJECT}", "outcome": "cancelled", "generation": 1}]}]
        }
    )

    items: tuple[BulkOutcome, ...]


class AuditAnswer(Answer):
    """One entry of the audit log."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": f"{_PROJECT}.2",
                    "project": _PROJECT,
                    "action": "deletion.scheduled",
                    "actor": "ada@example.com",
                    "actor_key": "key_01kahv3q5jc1s6v0n8w2k4m7xz",
                    "at": "2026-11-21T09:00:00.000Z",
                    "detail": {"due_at": _DUE, "reason": "replaced by shop2"},
                }
            ]
        }
    )

    id: str
    project: str | None
    action: str
    actor: str
    actor_key: str | None
    at: datetime
    detail: dict[str, Any]


class TombstoneAnswer(Answer):
    """What remains of a deleted project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "project": _PROJECT,
                    "slug": "shop",
                    "deleted_at": "2026-11-24T09:00:01.000Z",
                    "generation": 1,
                    "receipt": "eyJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLiJ9.eyJwcm9qZWN0IjoiLi4uIn0.c2lnbmF0dXJl",
                }
            ]
        }
    )

    project: str
    slug: str
    deleted_at: datetime
    generation: int
    receipt: str


class NewKey(Asked):
    """An API key to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"person": "bob@example.com", "role": "operator"}]})

    person: Name = Field(description="Whose key it is. Two keys of one person are not two administrators.")
    role: Role


class KeyAnswer(Answer):
    """An API key without its secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "key_01kahv3q5jc1s6v0n8w2k4m7xz",
                    "person": "bob@example.com",
                    "role": "operator",
                    "created_at": "2026-11-21T09:00:00.000Z",
                    "created_by": "ada@example.com",
                    "revoked_at": None,
                }
            ]
        }
    )

    id: str
    person: str
    role: Role
    created_at: datetime
    created_by: str
    revoked_at: datetime | None


class CreatedKey(Answer):
    """A key just made. The token is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "key_01kahv3q5jc1s6v0n8w2k4m7xz",
                    "token": "lck_01kahv3q5jc1s6v0n8w2k4m7xz_…",
                    "person": "bob@example.com",
                    "role": "operator",
                }
            ]
        }
    )

    id: str
    token: str
    person: str
    role: Role


class ProjectList(Answer):
    """A page of projects."""

    items: tuple[ProjectAnswer, ...]
    next_cursor: str | None


class ActionList(Answer):
    """A page of actions."""

    items: tuple[ActionAnswer, ...]
    next_cursor: str | None


class AuditList(Answer):
    """A page of the audit log."""

    items: tuple[AuditAnswer, ...]
    next_cursor: str | None


class KeyList(Answer):
    """The keys of the workspace."""

    items: tuple[KeyAnswer, ...]
    next_cursor: str | None = None


def deletion_answer(
    project: str, deletion: Deletion, *, already: bool = False, progress: PurgeProgress | None = None
) -> DeletionAnswer:
    """A deletion as the API shows it."""
    cancellation = deletion.cancellation
    return DeletionAnswer(
        project=project,
        phase=deletion.phase,
        due_at=deletion.countdown.due_at,
        generation=deletion.generation,
        grace_seconds=deletion.grace_seconds,
        reason=deletion.reason,
        requested_by=deletion.requested_by.person if deletion.requested_by else None,
        expedited_by=deletion.expedited_by.person if deletion.expedited_by else None,
        scheduled_at=deletion.scheduled_at,
        blocked_by=deletion.blocked_by,
        holds=tuple(HoldAnswer(**hold.model_dump()) for hold in deletion.holds),
        traffic=deletion.traffic,
        compute=deletion.compute,
        impact=deletion.impact,
        reminders=tuple(ReminderAnswer(**one.model_dump()) for one in deletion.reminders),
        cancelled=CancelAnswer(
            outcome="cancelled", generation=cancellation.generation, cancelled_at=cancellation.cancelled_at
        )
        if cancellation
        else None,
        started_at=deletion.started_at,
        deleted_at=deletion.deleted_at,
        purge=PurgeAnswer(step=progress.step, removed=progress.lines) if progress else None,
        stale_wakeups=deletion.countdown.stale_wakeups,
        already_scheduled=already,
    )
