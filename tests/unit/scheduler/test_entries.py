"""What each transition leaves in the audit log, the list of actions and the list of projects."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from lifecycle.ledger.entry import ActionState, Entry
from lifecycle.models import Actor
from lifecycle.scheduler import deletion_rules as rules
from lifecycle.scheduler import entries
from lifecycle.scheduler.deletion_rules import Authority, Decision
from lifecycle.scheduler.model import ConfigureProject, CreateProject, Deletion, Settle
from tests.support.factories import (
    ADA,
    BOB,
    DAY,
    FRESH,
    HOUR,
    NOW,
    PROJECT,
    PROTECTED,
    blocked,
    cancel,
    expedite,
    held,
    hold,
    purging,
    release,
    reschedule,
    schedule,
    scheduled,
    wake,
    without_authority,
)

DUE = NOW + 3 * DAY


class Expected(NamedTuple):
    """A transition and what it must leave behind."""

    before: Deletion
    decide: Callable[[Deletion], Decision]
    action: str
    actor: Actor | None
    state: ActionState | None
    project: str | None


def _last_wake(deletion: Deletion) -> Decision:
    while not (decision := wake(deletion)).purge:
        deletion = decision.deletion
    return decision


def _resume(deletion: Deletion) -> Decision:
    return rules.resume_purge(deletion, deletion.generation, now=DUE)


def _settle(deletion: Deletion) -> Decision:
    return rules.settle(deletion, Settle(generation=deletion.generation, deleted_at=DUE))


EXPECTED = (
    Expected(FRESH, schedule, "deletion.scheduled", ADA, ActionState.PENDING, "scheduled"),
    Expected(held(), schedule, "", None, None, None),
    Expected(scheduled(), reschedule, "deletion.rescheduled", ADA, ActionState.PENDING, "scheduled"),
    Expected(scheduled(), expedite, "deletion.expedited", BOB, ActionState.PENDING, "scheduled"),
    Expected(scheduled(), cancel, "deletion.cancelled", ADA, ActionState.CANCELLED, "active"),
    Expected(held(), cancel, "deletion.cancelled", ADA, ActionState.CANCELLED, "active"),
    Expected(cancel(scheduled()).deletion, cancel, "", None, None, None),
    Expected(scheduled(), hold, "hold.placed", ADA, ActionState.BLOCKED, "scheduled"),
    Expected(FRESH, hold, "hold.placed", ADA, None, "active"),
    Expected(held(), release, "hold.released", ADA, ActionState.PENDING, "scheduled"),
    Expected(hold(FRESH).deletion, release, "hold.released", ADA, None, "active"),
    Expected(blocked(), lambda it: release(it, at=DUE), "hold.released", ADA, ActionState.PENDING, "scheduled"),
    Expected(without_authority(), reschedule, "deletion.rescheduled", ADA, ActionState.PENDING, "scheduled"),
    Expected(scheduled(), wake, "deletion.reminded", None, ActionState.PENDING, "scheduled"),
    Expected(held(), lambda it: wake(it, at=DUE), "deletion.blocked", None, ActionState.BLOCKED, "scheduled"),
    Expected(
        wake(wake(scheduled()).deletion).deletion,
        lambda it: wake(it, authority=Authority.LOST),
        "deletion.blocked",
        None,
        ActionState.BLOCKED,
        "scheduled",
    ),
    Expected(
        wake(wake(scheduled()).deletion).deletion,
        _last_wake,
        "deletion.started",
        None,
        ActionState.RUNNING,
        "purging",
    ),
    Expected(purging(), _resume, "deletion.resumed", None, ActionState.RUNNING, "purging"),
    Expected(purging(), _settle, "deletion.finished", None, ActionState.DONE, None),
    Expected(purging(), lambda it: wake(it, at=DUE), "", None, None, None),
)


def _entry(expected: Expected) -> Entry | None:
    decision = expected.decide(expected.before)
    if decision.transition is None:
        return None
    return entries.deletion_entry(PROJECT, expected.before, decision.deletion, decision.transition)


@pytest.fixture(params=EXPECTED, ids=[f"{number}-{one.action}" for number, one in enumerate(EXPECTED)])
def expected(request: pytest.FixtureRequest) -> Expected:
    """Each transition."""
    found: Expected = request.param
    return found


def test_each_transition_is_one_entry(expected: Expected) -> None:
    """Who did what and when is written down once, and nothing is written when nothing happened."""
    entry = _entry(expected)
    if expected.action == "":
        assert entry is None
        return

    assert entry is not None
    assert (entry.action, entry.actor) == (expected.action, expected.actor)
    assert (entry.workspace, entry.project) == ("ws_1", "prj_1")
    assert entry.sequence == expected.before.sequence + 1
    assert entry.id == f"prj_1.{entry.sequence}"


def test_each_transition_shows_in_the_lists(expected: Expected) -> None:
    """Lists of actions and projects follow every transition; the row of a deleted project is gone already."""
    entry = _entry(expected)
    action = entry.pending_action if entry else None
    row = entry.project_row if entry else None

    assert (action.state if action else None) is expected.state
    assert (row.state if row else None) == expected.project


def test_every_transition_of_the_rules_is_shown_here() -> None:
    """Nothing can happen to a deletion that leaves an entry nobody ever saw."""
    assert {one.action for one in EXPECTED} - {""} == {
        "deletion.scheduled",
        "deletion.rescheduled",
        "deletion.expedited",
        "deletion.cancelled",
        "deletion.reminded",
        "deletion.blocked",
        "deletion.started",
        "deletion.resumed",
        "deletion.finished",
        "hold.placed",
        "hold.released",
    }


def test_the_action_says_what_when_and_by_whom() -> None:
    """A row of the list of actions is enough to decide whether to cancel."""
    entry = _entry(EXPECTED[0])
    row = entry.pending_action if entry else None

    assert row is not None
    assert (row.id, row.label) == ("project-deletion/prj_1", "shop")
    assert (row.due_at, row.generation, row.reason, row.requested_by) == (DUE, 1, "replaced", "ada")


def test_a_cancelled_action_keeps_the_generation_that_was_cancelled() -> None:
    """The list shows what was cancelled, not what comes after it."""
    cancelled = _entry(EXPECTED[4])
    row = cancelled.pending_action if cancelled else None
    project = cancelled.project_row if cancelled else None

    assert row is not None
    assert (row.generation, row.due_at) == (1, DUE)
    assert project is not None
    assert project.generation == 2


def test_only_reminders_carry_a_cancel_link() -> None:
    """The link goes out with a reminder and is for the generation that it reminds of."""
    links = {entry.action: entry.cancel_generation for one in EXPECTED if (entry := _entry(one))}

    assert {action for action, generation in links.items() if generation} == {"deletion.reminded"}
    assert links["deletion.reminded"] == 1


def test_a_new_project_is_the_first_entry() -> None:
    """The audit log of a project begins with its creation."""
    command = CreateProject(actor=ADA, now=NOW, slug="shop", name="Web shop")
    entry = entries.created_entry(PROJECT, command)

    assert (entry.id, entry.sequence, entry.action) == ("prj_1.1", 1, "project.created")
    assert (entry.actor, entry.at) == (ADA, NOW)
    assert entry.detail == {"slug": "shop", "name": "Web shop"}
    assert (entry.pending_action, entry.project_row) == (None, None)


def test_changed_settings_show_with_what_is_pending() -> None:
    """A changed name shows in both lists, while a deletion is pending as well."""
    command = ConfigureProject(actor=BOB, now=NOW + HOUR, protected=True)
    deletion = scheduled()
    entry = entries.project_entry(PROTECTED, deletion, command)

    assert (entry.action, entry.actor, entry.sequence) == ("project.configured", BOB, deletion.sequence)
    assert entry.project_row is not None
    assert (entry.project_row.protected, entry.project_row.state) == (True, "scheduled")
    assert entry.pending_action is not None
    assert entry.pending_action.state is ActionState.PENDING
    assert entries.project_entry(PROTECTED, FRESH, command).pending_action is None
