"""The promise itself, under fire: what was cancelled is never purged, whatever is killed at the due moment."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lifecycle.dev.stack import Stack
from tests.chaos import nemesis, race
from tests.support import history
from tests.support.history import Checker, Event, Kind, Truth

Planted = tuple[Sequence[Event], Sequence[Truth]]

ROWS = {"projects": 1, "environments": 2}


@pytest.fixture(scope="module")
async def own_stack() -> AsyncIterator[Stack]:
    """Servers that may be killed; every handler is replayed at each step."""
    async with nemesis.private_stack(engine_environment=nemesis.ALWAYS_REPLAY) as stack:
        yield stack


async def test_cancels_at_the_due_moment_are_final_although_worker_and_engine_die(own_stack: Stack) -> None:
    """An answer to a cancel holds, a project is kept whole or gone with a receipt, and nothing comes early."""
    plan = race.Plan(seed=1, races=60, window_seconds=14, kills=("worker", "engine"))

    outcome, figures = await race.run(own_stack, plan)

    print(race.table("races with the due moment", figures))  # noqa: T201  shown when it fails
    assert outcome.violations() == []
    assert figures["stale wake-ups, without effect"] != 0


def test_a_history_without_a_broken_promise_is_accepted() -> None:
    """The checkers do not cry wolf: one project was cancelled, one deleted, and one answer never came."""
    assert history.violations(*_kept_and_deleted()) == []
    for fate in (_kept, _deleted):
        lost = _answered("cancel", 1, Kind.UNKNOWN)
        assert history.violations(*fate(lost)) == [], "an unknown cancel may have had its effect, or not"


def _at(seconds: float) -> datetime:
    return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=seconds)


def _told(seconds: float) -> str:
    return _at(seconds).isoformat()


def _answered(verb: str, at: float, kind: Kind, **answer: Any) -> tuple[str, float, Kind, dict[str, Any]]:
    return verb, at, kind, answer


SCHEDULED = _answered("schedule", 0, Kind.OK, generation=1, phase="scheduled", due_at=_told(3), already_scheduled=False)
CANCELLED = _answered("cancel", 2, Kind.OK, generation=1, cancelled_at=_told(2))
REFUSED = _answered("cancel", 4, Kind.FAIL, code="deletion_started", started_at=_told(3.1))


def _events(project: str, *answers: tuple[str, float, Kind, dict[str, Any]]) -> list[Event]:
    """A history in which every request takes half a second."""
    events = []
    for verb, at, kind, answer in answers:
        call = hash((project, verb, at, str(answer)))
        events += [
            Event(call, Kind.INVOKE, _at(at), verb, project),
            Event(call, kind, _at(at + 0.5), verb, project, answer),
        ]
    return sorted(events, key=lambda event: event.at)


def _entries(project: str, *entries: tuple[float, str]) -> list[dict[str, Any]]:
    numbered = enumerate(((-1, "project.created"), *entries), start=1)
    return [{"id": f"{project}.{number}", "action": action, "at": _told(at)} for number, (at, action) in numbered]


def _kept(*answers: tuple[str, float, Kind, dict[str, Any]], project: str = "kept", **changes: Any) -> Planted:
    """A project whose deletion was cancelled, with some things changed."""
    truth = Truth(
        project=project,
        shown={"phase": "none", "generation": 2, "due_at": None, "stale_wakeups": 1},
        rows=ROWS,
        rows_before=ROWS,
        tombstone=None,
        receipt=None,
        action="cancelled",
        audit=_entries(project, (0, "deletion.scheduled"), (2, "deletion.cancelled")),
    )
    return _events(project, SCHEDULED, *answers), [truth._replace(**changes)]


def _deleted(*answers: tuple[str, float, Kind, dict[str, Any]], **changes: Any) -> Planted:
    """A project that was deleted, with some things changed."""
    lines = [{"subsystem": name, "count": count, "finished_at": _told(3.2)} for name, count in ROWS.items()]
    receipt = {"project": "gone", "generation": 1, "started_at": _told(3.1), "deleted_at": _told(3.3), "removed": lines}
    actions = ((0, "deletion.scheduled"), (3.1, "deletion.started"), (3.3, "deletion.finished"))
    truth = Truth(
        project="gone",
        shown={"phase": "deleted", "generation": 1, "due_at": _told(3), "stale_wakeups": 0},
        rows={},
        rows_before=ROWS,
        tombstone={"generation": 1},
        receipt=receipt,
        action="done",
        audit=_entries("gone", *actions),
    )
    return _events("gone", SCHEDULED, *answers), [truth._replace(**changes)]


def _kept_and_deleted() -> Planted:
    kept, deleted = _kept(CANCELLED, _answered("cancel", 5, *CANCELLED[2:3], **CANCELLED[3])), _deleted(REFUSED)
    return [*kept[0], *deleted[0]], [*kept[1], *deleted[1]]


def _shown(at: float, phase: str, generation: int) -> tuple[str, float, Kind, dict[str, Any]]:
    return _answered("show", at, Kind.OK, phase=phase, generation=generation, due_at=_told(3))


def _early_receipt() -> Planted:
    events, (truth,) = _deleted()
    return events, [truth._replace(receipt={**(truth.receipt or {}), "started_at": _told(2.9)})]


SECOND_ANSWER = _answered("cancel", 4, Kind.OK, generation=1, cancelled_at=_told(4))
CREATED, *REST = _kept()[1][0].audit


@pytest.mark.parametrize(
    ("checker", "planted"),
    [
        (history.a_cancelled_generation_is_never_purged, _deleted(CANCELLED)),
        (history.cancels_agree, _kept(CANCELLED, SECOND_ANSWER)),
        (history.cancels_agree, _kept(REFUSED, _answered("cancel", 5, Kind.OK, generation=1))),
        (history.nothing_is_early, _early_receipt()),
        (history.nothing_is_early, _deleted(_shown(2, "purging", 1))),
        (history.every_project_ends_whole, _kept(CANCELLED, rows={"projects": 1, "environments": 1})),
        (history.every_project_ends_whole, _kept(CANCELLED, tombstone={"generation": 1})),
        (history.every_project_ends_whole, _deleted(rows={"domains": 1})),
        (history.every_project_ends_whole, _deleted(tombstone=None)),
        (history.every_project_ends_whole, _deleted(receipt=None)),
        (history.every_project_ends_whole, _deleted(rows_before={**ROWS, "domains": 4})),
        (history.the_audit_log_is_complete, _kept(CANCELLED, audit=[CREATED])),
        (history.the_audit_log_is_complete, _kept(CANCELLED, audit=[CREATED, *REST, REST[1]])),
        (history.the_audit_log_is_complete, _kept(CANCELLED, audit=_entries("kept", (2, "deletion.cancelled")))),
        (history.the_audit_log_is_complete, _kept(CANCELLED, action="pending")),
        (history.the_audit_log_is_complete, _deleted(_answered("move", 1, Kind.OK, generation=2, due_at=_told(9)))),
        (history.stale_wakeups_are_counted, _kept(shown={"phase": "none", "generation": 2, "stale_wakeups": 0})),
        (history.generations_only_grow, _kept(_shown(1, "scheduled", 3), _shown(2, "scheduled", 1))),
        (history.generations_only_grow, _kept(_shown(1, "scheduled", 3))),
        (history.answers_are_linearizable, _kept(CANCELLED, _shown(3, "scheduled", 1))),
        (history.answers_are_linearizable, _deleted(_shown(1, "purging", 1))),
        (history.answers_are_linearizable, _deleted(CANCELLED)),
        (history.answers_are_linearizable, _kept(REFUSED)),
    ],
)
def test_a_broken_promise_is_found(checker: Checker, planted: Planted) -> None:
    """Each checker speaks up when its promise is broken, else it would prove nothing."""
    assert history.violations(*planted, checkers=[checker])


def test_every_checker_is_shown_to_find_something() -> None:
    """No checker joins without a history that it rejects."""
    marks: Callable[..., Any] = test_a_broken_promise_is_found
    planted = marks.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {checker for checker, _ in planted} == set(history.CHECKERS)
