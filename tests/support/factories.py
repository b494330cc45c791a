"""Values for tests of the rules; a test names only the fields that matter to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from lifecycle.models import Actor, Role
from lifecycle.scheduler import deletion_rules as rules
from lifecycle.scheduler.deletion_rules import Authority, Decision
from lifecycle.scheduler.model import (
    CancelDeletion,
    ConfigureProject,
    Deletion,
    ExpediteDeletion,
    Limits,
    PlaceHold,
    Project,
    ReleaseHold,
    RescheduleDeletion,
    ScheduleDeletion,
)

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIMITS = Limits(
    grace_seconds=3 * DAY.total_seconds(),
    min_grace_seconds=DAY.total_seconds(),
    max_grace_seconds=30 * DAY.total_seconds(),
    release_notice_seconds=DAY.total_seconds(),
    expedite_floor_seconds=HOUR.total_seconds(),
)


def actor(person: str, role: Role = Role.ADMINISTRATOR) -> Actor:
    """A person with a key of the workspace."""
    return Actor(workspace="ws_1", key=f"key_{person}", person=person, role=role)


ADA, BOB = actor("ada"), actor("bob")
OLIVIA, VICTOR = actor("olivia", Role.OPERATOR), actor("victor", Role.VIEWER)

PROJECT = Project(id="prj_1", workspace="ws_1", slug="shop", name="Web shop", created_at=NOW - DAY)
PROTECTED = PROJECT.model_copy(update={"protected": True})
FRESH = Deletion(sequence=1)  # as `create` leaves it


def schedule(
    deletion: Deletion = FRESH, *, project: Project = PROJECT, by: Actor = ADA, at: datetime = NOW, **more: Any
) -> Decision:
    """Ask for the deletion."""
    command = ScheduleDeletion(actor=by, now=at, **{"confirm": project.slug, "reason": "replaced", **more})
    return rules.schedule(project, deletion, command, LIMITS)


def cancel(deletion: Deletion, *, by: Actor = ADA, at: datetime = NOW, generation: int | None = None) -> Decision:
    """Ask to cancel it."""
    return rules.cancel(PROJECT, deletion, CancelDeletion(actor=by, now=at, generation=generation))


def reschedule(deletion: Deletion, *, by: Actor = ADA, at: datetime = NOW, **more: Any) -> Decision:
    """Ask to move it."""
    return rules.reschedule(PROJECT, deletion, RescheduleDeletion(actor=by, now=at, **more), LIMITS)


def expedite(deletion: Deletion, *, by: Actor = BOB, at: datetime = NOW, generation: int | None = None) -> Decision:
    """Ask to do it soon."""
    return rules.expedite(PROJECT, deletion, ExpediteDeletion(actor=by, now=at, generation=generation), LIMITS)


def hold(
    deletion: Deletion, name: str = "legal", *, by: Actor = ADA, at: datetime = NOW, generation: int | None = None
) -> Decision:
    """Ask to hold it."""
    command = PlaceHold(actor=by, now=at, generation=generation, name=name, reason="case 17")
    return rules.place_hold(PROJECT, deletion, command)


def release(
    deletion: Deletion, name: str = "legal", *, by: Actor = ADA, at: datetime = NOW, generation: int | None = None
) -> Decision:
    """Ask to release a hold."""
    command = ReleaseHold(actor=by, now=at, generation=generation, name=name)
    return rules.release_hold(PROJECT, deletion, command, LIMITS)


def configure(deletion: Deletion = FRESH, *, by: Actor = ADA, project: Project = PROTECTED, **changes: Any) -> Project:
    """Ask to change the project."""
    return rules.configure(project, deletion, ConfigureProject(actor=by, now=NOW, **changes))


def wake(
    deletion: Deletion,
    generation: int | None = None,
    *,
    at: datetime | None = None,
    authority: Authority = Authority.GRANTED,
) -> Decision:
    """A wake-up of the present generation, at the time that was wanted, unless told otherwise."""
    return rules.wake(
        deletion,
        deletion.generation if generation is None else generation,
        now=at or deletion.countdown.wake_at or NOW,
        authority=authority,
    )


def scheduled(**more: Any) -> Deletion:
    """A deletion that is scheduled three days ahead."""
    return schedule(**more).deletion


def purging() -> Deletion:
    """A deletion whose purge has begun."""
    deletion = scheduled()
    while not (decision := wake(deletion)).purge:
        deletion = decision.deletion
    return decision.deletion


def held() -> Deletion:
    """A deletion that is scheduled and held."""
    return hold(scheduled()).deletion


def blocked() -> Deletion:
    """A deletion that was held when its time came."""
    return wake(held(), at=NOW + 3 * DAY).deletion


def without_authority() -> Deletion:
    """A deletion whose requester was no administrator any more when its time came."""
    return wake(wake(wake(scheduled()).deletion).deletion, authority=Authority.LOST).deletion


def full_of_holds() -> Deletion:
    """A deletion with as many holds as there may be."""
    deletion = scheduled()
    for number in range(rules.MAX_HOLDS):
        deletion = hold(deletion, f"hold-{number}").deletion
    return deletion
