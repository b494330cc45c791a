"""The invariants of countdowns (design, section 12), each a checker of a recorded history.

A history is what one or more projects were asked, woken for and made of it, in the order in which each project
decided. A model records it (`tests/support/modelled.py`); a test on real servers can as well.
A checker returns what is wrong, in sentences; nothing when all is well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lifecycle.scheduler.model import Deletion, Phase

# Design, invariant 4: a deletion that nothing stops begins at most this long after it is due.
PROMISE = timedelta(seconds=5)


class What(StrEnum):
    """What happened to a project."""

    SCHEDULED = "scheduled"
    CANCELLED = "cancelled"
    MOVED = "moved"
    EXPEDITED = "expedited"
    HELD = "held"
    RELEASED = "released"
    WOKEN = "woken"
    BLOCKED = "blocked"
    STARTED = "started"
    FINISHED = "finished"
    SHOWN = "shown"
    ALARMED = "alarmed"


ARMS = (What.SCHEDULED, What.MOVED, What.EXPEDITED)


class Outcome(StrEnum):
    """What became of a request. Of an unknown one nobody can say whether it was carried out."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        what: what was asked for or happened.
        project: whose it is.
        at: the time by the clock of whoever decided.
        generation: the generation that it made or acted on; for a cancel the one that ended.
        outcome: what became of it.
        code: of a refusal; `already_scheduled` when a schedule changed nothing.
        due_at: the due time afterwards, while pending and not blocked; of a purge, the one that it was for.
        hold: the name of a hold.
        before: the whole state before, where it can be seen.
        after: and afterwards.
    """

    what: What
    project: str
    at: datetime
    generation: int
    outcome: Outcome = Outcome.DONE
    code: str | None = None
    due_at: datetime | None = None
    hold: str | None = None
    before: Deletion | None = None
    after: Deletion | None = None


History = Sequence[Event]
Checker = Callable[[History], list[str]]


def never_cancelled_and_purged(history: History) -> list[str]:
    """1: a cancel that was acknowledged is never followed by the deed."""
    cancelled = {(event.project, event.generation) for event in _done(history, What.CANCELLED)}
    return [
        f"{purge.project}: generation {purge.generation} was cancelled and purged"
        for purge in _done(history, What.STARTED, What.FINISHED)
        if (purge.project, purge.generation) in cancelled
    ]


def never_purged_early(history: History) -> list[str]:
    """3: no purge begins before the due time of its generation, as it was ever shown."""
    wrong = []
    for purge in _done(history, What.STARTED):
        shown = [
            event.due_at
            for event in _done(history, *What)
            if (event.project, event.generation) == (purge.project, purge.generation) and event.due_at is not None
        ]
        if purge.at < max(shown, default=purge.at):
            wrong.append(f"{purge.project}: purged at {purge.at}, due at {max(shown)}")
    return wrong


def what_is_due_begins(history: History) -> list[str]:
    """4: what is pending, not stopped and over its due time has begun, or there is an alarm."""
    end = max((event.at for event in history), default=None)
    wrong = []
    for project, events in _by_project(history).items():
        due_at: datetime | None = None
        for event in events:
            if event.outcome is Outcome.UNKNOWN or event.what in (What.ALARMED, What.BLOCKED, *_ENDS):
                due_at = None
            elif event.outcome is Outcome.DONE and event.due_at is not None:
                due_at = event.due_at
        if end and due_at and due_at + PROMISE < end and not _holds(events):
            wrong.append(f"{project}: due at {due_at}, not begun at {end}")
    return wrong


def purged_at_most_once(history: History) -> list[str]:
    """5: a generation is purged once."""
    started = [(event.project, event.generation) for event in _done(history, What.STARTED)]
    return [
        f"{project}: generation {generation} was purged {started.count((project, generation))} times"
        for project, generation in dict.fromkeys(started)
        if started.count((project, generation)) > 1
    ]


def stale_wakeups_do_nothing(history: History) -> list[str]:
    """5: a wake-up of another generation, or of nothing pending, changes the counter and nothing else."""
    wrong = []
    for event in _done(history, What.WOKEN):
        before, after = event.before, event.after
        if before is None or after is None:
            continue
        if event.generation == before.generation and before.phase is Phase.SCHEDULED:
            continue
        counted = before.countdown.model_copy(update={"stale_wakeups": before.countdown.stale_wakeups + 1})
        if after != before.model_copy(update={"countdown": counted}):
            wrong.append(f"{event.project}: a wake-up of generation {event.generation} changed {before} to {after}")
    return wrong


def generations_only_grow(history: History) -> list[str]:
    """6: a generation is never less than one seen before, and each arm and each cancel leaves the old one behind."""
    wrong = []
    for project, events in _by_project(history).items():
        least = 0
        for event in _done(events, *ARMS, What.RELEASED, What.HELD, What.SHOWN, What.CANCELLED, What.STARTED):
            repeated = event.what is What.CANCELLED and event.generation < least
            if repeated:
                continue
            if event.generation < least:
                wrong.append(f"{project}: {event.what} answered {event.generation}, at least {least} was expected")
            least = max(least, event.generation + (event.what is What.CANCELLED))
        armed = [event.generation for event in _done(events, *ARMS)]
        if len(armed) > len(set(armed)):
            wrong.append(f"{project}: a generation was used twice: {armed}")
    return wrong


def cancel_then_schedule_works(history: History) -> list[str]:
    """7: after a cancel, a new deletion can be scheduled at once."""
    wrong = []
    for project, events in _by_project(history).items():
        cancelled = False
        for event in events:
            if cancelled and event.what is What.SCHEDULED and event.code in _STILL_PENDING:
                wrong.append(f"{project}: cancelled, and then a schedule was answered with {event.code}")
            if event.outcome is not Outcome.REFUSED and event.what in (What.CANCELLED, What.SCHEDULED):
                cancelled = event.what is What.CANCELLED
    return wrong


def nothing_becomes_earlier_by_itself(history: History) -> list[str]:
    """8: a due time is only ever brought forward by a person who moves, expedites or schedules anew."""
    wrong = []
    for project, events in _by_project(history).items():
        due_at: datetime | None = None
        for event in events:
            if event.what in ARMS and event.outcome is not Outcome.REFUSED:
                due_at = event.due_at
            elif event.outcome is Outcome.DONE and event.due_at is not None:
                if due_at is not None and event.due_at < due_at:
                    wrong.append(f"{project}: {event.what} brought {due_at} forward to {event.due_at}")
                due_at = event.due_at
    return wrong


def holds_are_kept(history: History) -> list[str]:
    """9: a hold that was acknowledged, and that nobody tried to release, keeps the purge from beginning."""
    wrong = []
    for project, events in _by_project(history).items():
        for position, event in enumerate(events):
            if event.what is What.STARTED and (held := _holds(events[:position])):
                wrong.append(f"{project}: purged while held by {', '.join(sorted(held))}")
    return wrong


CHECKERS: tuple[Checker, ...] = (
    never_cancelled_and_purged,
    never_purged_early,
    what_is_due_begins,
    purged_at_most_once,
    stale_wakeups_do_nothing,
    generations_only_grow,
    cancel_then_schedule_works,
    nothing_becomes_earlier_by_itself,
    holds_are_kept,
)

_ENDS = (What.CANCELLED, What.STARTED, What.FINISHED)
_STILL_PENDING = ("already_scheduled", "deletion_started")


def violations(history: History) -> list[str]:
    """Whatever any checker found, each with the name of the checker."""
    return [f"{checker.__name__}: {found}" for checker in CHECKERS for found in checker(history)]


def _done(history: History, *wanted: What) -> History:
    return [event for event in history if event.what in wanted and event.outcome is Outcome.DONE]


def _by_project(history: History) -> Mapping[str, History]:
    return {
        project: [event for event in history if event.project == project]
        for project in dict.fromkeys(event.project for event in history)
    }


def _holds(events: History) -> set[str]:
    """The holds in force after these events; one that somebody may have released is not."""
    held: set[str] = set()
    for event in events:
        if event.what is What.HELD and event.outcome is Outcome.DONE and event.hold is not None:
            held.add(event.hold)
        elif event.what is What.RELEASED and event.outcome is not Outcome.REFUSED and event.hold is not None:
            held.discard(event.hold)
    return held
