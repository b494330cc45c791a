"""Each checker of the invariants finds the one broken promise that it is for, in a history that is else honest."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.scheduler.deletion_rules import Authority
from tests.support import invariants
from tests.support.factories import ADA, BOB, DAY, HOUR
from tests.support.invariants import CHECKERS, Checker, Event, Outcome, What, violations
from tests.support.modelled import Modelled

History = list[Event]


def honest() -> History:
    """Scheduled, held, released, moved, cancelled, scheduled again, expedited, purged; old wake-ups come late."""
    project = Modelled()
    project.schedule(3 * DAY, by=ADA)
    project.place_hold("legal")
    project.release_hold("legal")
    project.reschedule(5 * DAY, by=ADA)
    project.cancel(by=ADA, generation=None)
    project.cancel(by=ADA, generation=None)
    project.schedule(2 * DAY, by=ADA)
    project.schedule(2 * DAY, by=ADA)
    project.deliver(project.messages[0], skew=timedelta(0), authority=Authority.GRANTED, again=True)
    project.show()
    project.expedite(by=BOB)
    project.run_to_the_end()
    project.settle(project.deletion.generation)
    project.show()
    return project.history


def _first(history: History, what: What) -> int:
    return next(place for place, event in enumerate(history) if event.what is what)


def _change(history: History, what: What, **changes: object) -> None:
    place = _first(history, what)
    history[place] = replace(history[place], **changes)  # type: ignore[arg-type]


def _purge_the_cancelled(history: History) -> None:
    _change(history, What.FINISHED, generation=history[_first(history, What.CANCELLED)].generation)


def _purge_early(history: History) -> None:
    _change(history, What.STARTED, at=history[_first(history, What.STARTED)].at - HOUR)


def _never_begin(history: History) -> None:
    history[:] = [event for event in history if event.what not in (What.STARTED, What.FINISHED)]


def _purge_twice(history: History) -> None:
    history.append(history[_first(history, What.STARTED)])


def _let_a_stale_wakeup_decide(history: History) -> None:
    before = history[_first(history, What.WOKEN)].before
    assert before is not None
    _change(history, What.WOKEN, after=before.model_copy(update={"reason": "changed"}))


def _reset_the_generation(history: History) -> None:
    _change(history, What.SHOWN, generation=1)


def _use_a_generation_twice(history: History) -> None:
    history.insert(1, history[0])


def _refuse_after_cancel(history: History) -> None:
    place = _first(history, What.CANCELLED)
    refused = {"what": What.SCHEDULED, "outcome": Outcome.REFUSED, "code": "already_scheduled"}
    history.insert(place + 1, replace(history[place], **refused))  # type: ignore[arg-type]


def _bring_forward(history: History) -> None:
    due_at = history[_first(history, What.RELEASED)].due_at
    assert due_at is not None
    _change(history, What.RELEASED, due_at=due_at - DAY)


def _purge_what_is_held(history: History) -> None:
    history[:] = [event for event in history if event.what is not What.RELEASED]


BUGS: tuple[tuple[Callable[[History], None], Checker], ...] = (
    (_purge_the_cancelled, invariants.never_cancelled_and_purged),
    (_purge_early, invariants.never_purged_early),
    (_never_begin, invariants.what_is_due_begins),
    (_purge_twice, invariants.purged_at_most_once),
    (_let_a_stale_wakeup_decide, invariants.stale_wakeups_do_nothing),
    (_reset_the_generation, invariants.generations_only_grow),
    (_use_a_generation_twice, invariants.generations_only_grow),
    (_refuse_after_cancel, invariants.cancel_then_schedule_works),
    (_bring_forward, invariants.nothing_becomes_earlier_by_itself),
    (_purge_what_is_held, invariants.holds_are_kept),
)


def test_an_honest_history_passes() -> None:
    """No checker complains when every promise was kept."""
    history = honest()

    assert violations(history) == []
    assert {event.what for event in history} == set(What) - {What.BLOCKED, What.ALARMED}


@pytest.mark.parametrize(("plant", "checker"), BUGS)
def test_a_checker_finds_its_broken_promise(plant: Callable[[History], None], checker: Checker) -> None:
    """A broken promise is found by the checker that is for it, and by no other."""
    history = honest()
    plant(history)

    assert [found.split(":")[0] for found in violations(history)] == [checker.__name__]


def test_every_checker_is_shown_to_fail() -> None:
    """A checker that never finds anything would protect nobody."""
    assert {checker for _, checker in BUGS} == set(CHECKERS)


def test_an_unknown_outcome_accuses_nobody() -> None:
    """Where nobody can say whether a release or a cancel was carried out, either may follow."""
    history = honest()
    _change(history, What.RELEASED, outcome=Outcome.UNKNOWN)
    pending = [*history[:1], replace(history[-1], what=What.CANCELLED, outcome=Outcome.UNKNOWN)]

    assert violations(history) == []
    assert violations(pending) == []
