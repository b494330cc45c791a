"""What may happen to a deletion, and what follows. Pure: state and time in, decision out.

    none ──schedule──> scheduled ──due, no hold, still authorised──> purging ──> deleted
      ^                  │  ^  └ move, expedite, hold, release
      └─────cancel───────┘

Nothing ever becomes earlier by itself: only a person moves or expedites. Invariants 1 to 9 of the design are
properties of this file and of `countdown`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from pydantic import JsonValue

from lifecycle.clock import rfc3339
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role
from lifecycle.scheduler.countdown import Countdown, Verdict
from lifecycle.scheduler.model import (
    CancelDeletion,
    Cancellation,
    Command,
    ConfigureProject,
    Deletion,
    ExpediteDeletion,
    Hold,
    Limits,
    Phase,
    PlaceHold,
    Project,
    ReleaseHold,
    Reminder,
    RescheduleDeletion,
    ScheduleDeletion,
    Settle,
)

REMIND_BEFORE = (timedelta(hours=24), timedelta(hours=1))
MAX_HOLDS = 50
# While the database cannot say whether the requester may still delete, the question is asked again this often.
AUTHORITY_RETRY = timedelta(seconds=5)


class Authority(StrEnum):
    """Whether those who asked may still delete, as far as is known."""

    GRANTED = "granted"
    LOST = "lost"
    UNKNOWN = "unknown"


class Transition(NamedTuple):
    """Something that happened and belongs into the audit log."""

    action: str
    at: datetime
    actor: Actor | None
    detail: Mapping[str, JsonValue]


class Decision(NamedTuple):
    """The new state, and what must follow from it: an audit entry, a wake-up, the purge."""

    deletion: Deletion
    transition: Transition | None = None
    wake_at: datetime | None = None
    purge: bool = False


def schedule(project: Project, deletion: Deletion, command: ScheduleDeletion, limits: Limits) -> Decision:
    """Start the countdown. While one is running it is returned unchanged, without a transition."""
    _require(command, Role.ADMINISTRATOR)
    if command.confirm != project.slug:
        raise LifecycleError(Code.CONFIRM_MISMATCH, project=project.id, field="confirm")
    _refuse_started(project, deletion)
    _match(project, deletion, command)
    if deletion.phase is Phase.SCHEDULED:
        return Decision(deletion)
    if project.protected:
        raise LifecycleError(Code.PROJECT_PROTECTED, project=project.id)
    due_at = _due_at(command.now, command.grace_seconds, command.due_at, limits)
    reminders = _reminders(now=command.now, due_at=due_at)
    scheduled = Deletion(
        phase=Phase.SCHEDULED,
        countdown=deletion.countdown.arm(due_at=due_at, wake_at=_next_wake(reminders, due_at)),
        sequence=deletion.sequence,
        scheduled_at=command.now,
        grace_seconds=(due_at - command.now).total_seconds(),
        reason=command.reason,
        requested_by=command.actor,
        traffic=command.traffic,
        compute=command.compute,
        impact=command.impact,
        reminders=reminders,
        holds=deletion.holds,
    )
    detail = {"due_at": rfc3339(due_at), "reason": command.reason}
    return _arm_and_decide(scheduled, "deletion.scheduled", command, detail)


def cancel(project: Project, deletion: Deletion, command: CancelDeletion) -> Decision:
    """End the countdown. Cancelling again gives the first outcome, without a transition."""
    _require(command, Role.OPERATOR)
    _refuse_started(project, deletion)
    if deletion.phase is Phase.NONE:
        if deletion.cancellation is None:
            raise LifecycleError(Code.DELETION_NOT_SCHEDULED, project=project.id)
        if command.generation not in (None, deletion.cancellation.generation, deletion.generation):
            _match(project, deletion, command)
        return Decision(deletion)
    _match(project, deletion, command)
    cancelled = Deletion(
        countdown=deletion.countdown.disarm(),
        sequence=deletion.sequence,
        holds=deletion.holds,
        cancellation=Cancellation(
            generation=deletion.generation, cancelled_at=command.now, cancelled_by=command.actor.person
        ),
    )
    return _decide(cancelled, "deletion.cancelled", command, {"generation": deletion.generation})


def reschedule(project: Project, deletion: Deletion, command: RescheduleDeletion, limits: Limits) -> Decision:
    """Move the due time. Whoever moves it answers for it from then on."""
    _require(command, Role.ADMINISTRATOR)
    _refuse_unscheduled(project, deletion, command)
    due_at = _due_at(command.now, command.grace_seconds, command.due_at, limits)
    moved = _arm(deletion, now=command.now, due_at=due_at).model_copy(
        update={
            "requested_by": command.actor,
            "expedited_by": None,
            "authority_lost": False,
            "grace_seconds": (due_at - command.now).total_seconds(),
        }
    )
    detail = {"due_at": rfc3339(due_at), "former_due_at": _rfc3339(deletion.countdown.due_at)}
    return _arm_and_decide(moved, "deletion.rescheduled", command, detail)


def expedite(project: Project, deletion: Deletion, command: ExpediteDeletion, limits: Limits) -> Decision:
    """Bring the due time forward to the floor, when a second administrator says so."""
    _require(command, Role.ADMINISTRATOR)
    _refuse_unscheduled(project, deletion, command)
    requester = deletion.requested_by
    if requester is not None and command.actor.person == requester.person:
        raise LifecycleError(Code.SECOND_ADMINISTRATOR_REQUIRED, project=project.id, person=requester.person)
    if deletion.blocked_by:
        raise LifecycleError(Code.DELETION_HELD, project=project.id, blocked_by=", ".join(deletion.blocked_by))
    floor = command.now + timedelta(seconds=limits.expedite_floor_seconds)
    due_at = min(floor, deletion.countdown.due_at or floor)
    expedited = _arm(deletion, now=command.now, due_at=due_at).model_copy(update={"expedited_by": command.actor})
    return _arm_and_decide(expedited, "deletion.expedited", command, {"due_at": rfc3339(due_at)})


def place_hold(project: Project, deletion: Deletion, command: PlaceHold) -> Decision:
    """Add a hold, or replace the reason of one; also while no deletion is scheduled."""
    _require(command, Role.OPERATOR)
    _refuse_started(project, deletion)
    _match(project, deletion, command)
    others = tuple(hold for hold in deletion.holds if hold.name != command.name)
    if len(others) >= MAX_HOLDS:
        raise LifecycleError(Code.TOO_MANY_HOLDS, project=project.id, limit=str(MAX_HOLDS))
    hold = Hold(name=command.name, reason=command.reason, placed_by=command.actor.person, placed_at=command.now)
    held = deletion.model_copy(update={"holds": (*others, hold)})
    return _decide(held, "hold.placed", command, {"name": command.name, "reason": command.reason})


def release_hold(project: Project, deletion: Deletion, command: ReleaseHold, limits: Limits) -> Decision:
    """Take a hold away. The last one, after the due time, gives a new due time with fresh notice."""
    _require(command, Role.ADMINISTRATOR)
    _refuse_started(project, deletion)
    _match(project, deletion, command)
    left = tuple(hold for hold in deletion.holds if hold.name != command.name)
    if len(left) == len(deletion.holds):
        raise LifecycleError(Code.HOLD_NOT_FOUND, project=project.id, name=command.name)
    released = deletion.model_copy(update={"holds": left})
    countdown = deletion.countdown
    detail: dict[str, JsonValue] = {"name": command.name}
    still_to_wake = countdown.wake_at is not None and countdown.due_at is not None and countdown.due_at > command.now
    if countdown.due_at is None or still_to_wake or released.blocked_by:
        return _decide(released, "hold.released", command, detail)
    # The wake-up of this generation was used up on the hold, or is about to be: a new one, with fresh notice.
    noticed = command.now + timedelta(seconds=limits.release_notice_seconds)
    due_at = max(noticed, countdown.due_at)
    detail["due_at"] = rfc3339(due_at)
    return _arm_and_decide(_arm(released, now=command.now, due_at=due_at), "hold.released", command, detail)


def is_stale(deletion: Deletion, generation: int) -> bool:
    """Whether a wake-up of `generation` means nothing any more, at whatever time it comes."""
    countdown = deletion.countdown
    return (
        deletion.phase is not Phase.SCHEDULED
        or generation != countdown.generation
        or countdown.wake_at is None
        or countdown.due_at is None
    )


def ignore(deletion: Deletion) -> Decision:
    """A stale wake-up: counted, and nothing else."""
    return Decision(deletion.model_copy(update={"countdown": deletion.countdown.count_stale()}))


def wants_authority(deletion: Deletion) -> bool:
    """Whether the next wake-up is for the deed itself, so that authority must be looked up for it."""
    countdown = deletion.countdown
    return countdown.wake_at is not None and countdown.due_at is not None and countdown.wake_at >= countdown.due_at


def wake(deletion: Deletion, generation: int, *, now: datetime, authority: Authority) -> Decision:
    """What a wake-up does: nothing, wait on, remind, stay blocked, or begin the purge."""
    countdown = deletion.countdown
    due_at = countdown.due_at
    if is_stale(deletion, generation) or due_at is None:
        return ignore(deletion)
    if countdown.judge(generation, now=now) is Verdict.EARLY:
        return _wait(deletion, countdown.count_early(), now=now)
    if now < due_at:
        return _remind(deletion, now=now, due_at=due_at)
    if deletion.holds or authority is Authority.LOST:
        blocked = deletion.model_copy(
            update={"countdown": countdown.rest(), "authority_lost": authority is Authority.LOST}
        )
        return _record(blocked, "deletion.blocked", now, {"blocked_by": list(blocked.blocked_by)})
    if not wants_authority(deletion):
        # A reminder that came after the due time: the deed is next, with its own look at authority.
        return _wait(deletion, countdown.wake_again(due_at), now=now)
    if authority is Authority.UNKNOWN:
        return _wait(deletion, countdown.wake_again(now + AUTHORITY_RETRY), now=now)
    started = deletion.model_copy(update={"phase": Phase.PURGING, "countdown": countdown.rest(), "started_at": now})
    return _record(started, "deletion.started", now, {"due_at": rfc3339(due_at)})._replace(purge=True)


def settle(deletion: Deletion, message: Settle) -> Decision:
    """Take note that the purge of this generation is finished; anything else is ignored."""
    if deletion.phase is not Phase.PURGING or message.generation != deletion.generation:
        return Decision(deletion)
    deleted = deletion.model_copy(update={"phase": Phase.DELETED, "deleted_at": message.deleted_at})
    return _record(deleted, "deletion.finished", message.deleted_at, {})


def resume_purge(deletion: Deletion, generation: int, *, now: datetime) -> Decision:
    """Begin the purge of this generation again, after somebody ended it in the engine; its steps can be repeated."""
    if deletion.phase is not Phase.PURGING or generation != deletion.generation:
        return Decision(deletion)
    resumed = deletion.model_copy(update={"purge_attempt": deletion.purge_attempt + 1})
    return _record(resumed, "deletion.resumed", now, {"attempt": resumed.purge_attempt})._replace(purge=True)


def configure(project: Project, deletion: Deletion, command: ConfigureProject) -> Project:
    """The project with changed settings. Protection is for administrators, the name for operators."""
    _require(command, Role.OPERATOR if command.protected is None else Role.ADMINISTRATOR)
    _refuse_started(project, deletion)
    if command.protected and deletion.phase is Phase.SCHEDULED:
        raise LifecycleError(Code.DELETION_PENDING, project=project.id)
    changes = {"name": command.name, "protected": command.protected}
    return project.model_copy(update={name: value for name, value in changes.items() if value is not None})


def _remind(deletion: Deletion, *, now: datetime, due_at: datetime) -> Decision:
    reminders = tuple(
        reminder.model_copy(update={"sent_at": now}) if reminder.sent_at is None and reminder.at <= now else reminder
        for reminder in deletion.reminders
    )
    countdown = deletion.countdown.wake_again(_next_wake(reminders, due_at))
    reminded = deletion.model_copy(update={"reminders": reminders, "countdown": countdown})
    decision = _record(reminded, "deletion.reminded", now, {"due_at": rfc3339(due_at)})
    return decision._replace(wake_at=countdown.next_wake(now=now))


def _wait(deletion: Deletion, countdown: Countdown, *, now: datetime) -> Decision:
    return Decision(deletion.model_copy(update={"countdown": countdown}), wake_at=countdown.next_wake(now=now))


def _arm(deletion: Deletion, *, now: datetime, due_at: datetime) -> Deletion:
    reminders = _reminders(now=now, due_at=due_at)
    countdown = deletion.countdown.arm(due_at=due_at, wake_at=_next_wake(reminders, due_at))
    return deletion.model_copy(update={"countdown": countdown, "reminders": reminders})


def _reminders(*, now: datetime, due_at: datetime) -> tuple[Reminder, ...]:
    return tuple(Reminder(at=due_at - before) for before in REMIND_BEFORE if due_at - before > now)


def _next_wake(reminders: tuple[Reminder, ...], due_at: datetime) -> datetime:
    return min((reminder.at for reminder in reminders if reminder.sent_at is None), default=due_at)


def _due_at(now: datetime, grace_seconds: float | None, due_at: datetime | None, limits: Limits) -> datetime:
    if due_at is None:
        seconds = limits.grace_seconds if grace_seconds is None else grace_seconds
        field = "grace"
    else:
        seconds = (due_at - now).total_seconds()
        field = "due_at"
        if seconds < 0:
            raise LifecycleError(Code.DUE_IN_PAST, due_at=rfc3339(due_at), field=field)
    if not limits.min_grace_seconds <= seconds <= limits.max_grace_seconds:
        raise LifecycleError(
            Code.GRACE_OUT_OF_RANGE,
            due_at="asked for" if due_at is None else rfc3339(due_at),
            grace_seconds=f"{seconds:g}",
            minimum_seconds=f"{limits.min_grace_seconds:g}",
            maximum_seconds=f"{limits.max_grace_seconds:g}",
            field=field,
        )
    return due_at or now + timedelta(seconds=seconds)


def _require(command: Command, role: Role) -> None:
    if not command.actor.role.includes(role):
        raise LifecycleError(Code.ROLE_REQUIRED, required=role.value, role=command.actor.role.value)


def _match(project: Project, deletion: Deletion, command: Command) -> None:
    if command.generation is not None and command.generation != deletion.generation:
        raise LifecycleError(
            Code.GENERATION_MISMATCH,
            project=project.id,
            expected=str(command.generation),
            generation=str(deletion.generation),
        )


def _refuse_started(project: Project, deletion: Deletion) -> None:
    if deletion.phase in (Phase.PURGING, Phase.DELETED):
        raise LifecycleError(
            Code.DELETION_STARTED, project=project.id, started_at=_rfc3339(deletion.started_at) or "unknown"
        )


def _refuse_unscheduled(project: Project, deletion: Deletion, command: Command) -> None:
    _refuse_started(project, deletion)
    if deletion.phase is Phase.NONE:
        raise LifecycleError(Code.DELETION_NOT_SCHEDULED, project=project.id)
    _match(project, deletion, command)


def _decide(deletion: Deletion, action: str, command: Command, detail: Mapping[str, JsonValue]) -> Decision:
    return _record(deletion, action, command.now, detail, actor=command.actor)


def _arm_and_decide(deletion: Deletion, action: str, command: Command, detail: Mapping[str, JsonValue]) -> Decision:
    decision = _decide(deletion, action, command, detail)
    return decision._replace(wake_at=deletion.countdown.next_wake(now=command.now))


def _record(
    deletion: Deletion,
    action: str,
    at: datetime,
    detail: Mapping[str, JsonValue],
    *,
    actor: Actor | None = None,
) -> Decision:
    numbered = deletion.model_copy(update={"sequence": deletion.sequence + 1})
    return Decision(numbered, Transition(action, at, actor, detail))


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
