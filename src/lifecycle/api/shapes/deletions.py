"""Deletions and holds, as HTTP shows them."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field, StrictBool

from lifecycle.api.shapes.base import EXAMPLE_DUE, EXAMPLE_PROJECT, Answer, Asked, Moment, Reason
from lifecycle.durations import Duration
from lifecycle.scheduler.model import Compute, Deletion, Impact, Phase, PurgeProgress, ReceiptLine, Traffic


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
                    "project": EXAMPLE_PROJECT,
                    "phase": "scheduled",
                    "due_at": EXAMPLE_DUE,
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
