"""Every refusal of the rules, by example."""

import ast
import inspect
from collections.abc import Callable
from datetime import timedelta

import pytest

from lifecycle.errors import Code, LifecycleError
from lifecycle.scheduler import deletion_rules as rules
from tests.support.factories import (
    ADA,
    BOB,
    DAY,
    FRESH,
    NOW,
    OLIVIA,
    PROTECTED,
    VICTOR,
    cancel,
    configure,
    expedite,
    full_of_holds,
    held,
    hold,
    purging,
    release,
    reschedule,
    schedule,
    scheduled,
    without_authority,
)

Ask = Callable[[], object]
REFUSALS: tuple[tuple[Code, Ask], ...] = (
    (Code.ROLE_REQUIRED, lambda: schedule(by=OLIVIA)),
    (Code.ROLE_REQUIRED, lambda: cancel(scheduled(), by=VICTOR)),
    (Code.ROLE_REQUIRED, lambda: reschedule(scheduled(), by=OLIVIA)),
    (Code.ROLE_REQUIRED, lambda: expedite(scheduled(), by=OLIVIA)),
    (Code.ROLE_REQUIRED, lambda: hold(scheduled(), by=VICTOR)),
    (Code.ROLE_REQUIRED, lambda: release(held(), by=OLIVIA)),
    (Code.ROLE_REQUIRED, lambda: configure(by=VICTOR, name="x")),
    (Code.ROLE_REQUIRED, lambda: configure(by=OLIVIA, protected=True)),
    (Code.CONFIRM_MISMATCH, lambda: schedule(confirm="Shop")),
    (Code.CONFIRM_MISMATCH, lambda: schedule(scheduled(), confirm="")),
    (Code.PROJECT_PROTECTED, lambda: schedule(project=PROTECTED)),
    (Code.DELETION_PENDING, lambda: configure(scheduled(), by=ADA, protected=True)),
    (Code.GRACE_OUT_OF_RANGE, lambda: schedule(grace_seconds=DAY.total_seconds() - 0.001)),
    (Code.GRACE_OUT_OF_RANGE, lambda: schedule(grace_seconds=30 * DAY.total_seconds() + 0.001)),
    (Code.GRACE_OUT_OF_RANGE, lambda: schedule(due_at=NOW + DAY - timedelta(milliseconds=1))),
    (Code.GRACE_OUT_OF_RANGE, lambda: reschedule(scheduled(), due_at=NOW + 31 * DAY)),
    (Code.DUE_IN_PAST, lambda: schedule(due_at=NOW - timedelta(milliseconds=1))),
    (Code.DUE_IN_PAST, lambda: reschedule(scheduled(), due_at=NOW - DAY)),
    (Code.GENERATION_MISMATCH, lambda: schedule(generation=1)),
    (Code.GENERATION_MISMATCH, lambda: cancel(scheduled(), generation=2)),
    (Code.GENERATION_MISMATCH, lambda: cancel(cancel(scheduled()).deletion, generation=7)),
    (Code.GENERATION_MISMATCH, lambda: reschedule(scheduled(), generation=0)),
    (Code.GENERATION_MISMATCH, lambda: expedite(scheduled(), generation=0)),
    (Code.GENERATION_MISMATCH, lambda: hold(scheduled(), generation=0)),
    (Code.GENERATION_MISMATCH, lambda: release(held(), generation=0)),
    (Code.DELETION_NOT_SCHEDULED, lambda: cancel(FRESH)),
    (Code.DELETION_NOT_SCHEDULED, lambda: reschedule(FRESH)),
    (Code.DELETION_NOT_SCHEDULED, lambda: expedite(cancel(scheduled()).deletion)),
    (Code.DELETION_STARTED, lambda: schedule(purging())),
    (Code.DELETION_STARTED, lambda: cancel(purging())),
    (Code.DELETION_STARTED, lambda: reschedule(purging())),
    (Code.DELETION_STARTED, lambda: expedite(purging())),
    (Code.DELETION_STARTED, lambda: hold(purging())),
    (Code.DELETION_STARTED, lambda: release(purging())),
    (Code.DELETION_STARTED, lambda: configure(purging(), by=ADA, name="x")),
    (Code.DELETION_HELD, lambda: expedite(held())),
    (Code.DELETION_HELD, lambda: expedite(without_authority())),
    (Code.SECOND_ADMINISTRATOR_REQUIRED, lambda: expedite(scheduled(), by=ADA)),
    (Code.SECOND_ADMINISTRATOR_REQUIRED, lambda: expedite(reschedule(scheduled(), by=BOB).deletion, by=BOB)),
    (Code.HOLD_NOT_FOUND, lambda: release(scheduled())),
    (Code.TOO_MANY_HOLDS, lambda: hold(full_of_holds(), "one-more")),
)


@pytest.mark.parametrize(
    ("code", "ask"), REFUSALS, ids=[f"{number}-{code}" for number, (code, _) in enumerate(REFUSALS)]
)
def test_what_may_not_be_is_refused_with_its_reason(code: Code, ask: Ask) -> None:
    """Every refusal says by a stable code what is the matter, and in words what to do."""
    with pytest.raises(LifecycleError) as refusal:
        ask()

    assert refusal.value.code is code
    assert refusal.value.message
    assert refusal.value.hint


def test_every_refusal_of_the_rules_is_shown_here() -> None:
    """No refusal is left that nobody ever saw."""
    raised = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(rules)))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code"
    }

    assert raised == {code.name for code, _ in REFUSALS}


def test_the_same_person_with_another_key_is_no_second_administrator() -> None:
    """Delete now needs two people, not two keys."""
    other_key = ADA.model_copy(update={"key": "key_other"})

    with pytest.raises(LifecycleError) as refusal:
        expedite(scheduled(), by=other_key)

    assert refusal.value.code is Code.SECOND_ADMINISTRATOR_REQUIRED
