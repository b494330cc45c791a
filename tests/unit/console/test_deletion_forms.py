"""The forms of a deletion, and what is said of a receipt."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from lifecycle.api.shapes.deletions import DeletionAnswer, DeletionMove, NewDeletion
from lifecycle.console import deletions
from lifecycle.console.sessions import Sent, Visitor
from tests.support.factories import ADA, NOW


def sent(**fields: str) -> Sent:
    """A form that Ada sent."""
    return Sent(Visitor(ADA, "form"), fields)


def test_a_grace_is_taken_when_a_grace_is_chosen() -> None:
    """What stands in the other field does not count."""
    form = sent(by="grace", grace=" 3d ", due_at="2026-11-24T09:00", reason="old", confirm="shop", traffic="serve")

    assert deletions.wish(form) == {"grace": "3d", "reason": "old", "confirm": "shop", "traffic": "serve"}


@pytest.mark.parametrize("typed", ["2026-11-24T09:00", "2026-11-24T09:00:00", "2026-11-24T09:00:00Z"])
def test_a_time_is_taken_in_utc(typed: str) -> None:
    """The field of the browser has no zone; the page says that it is UTC."""
    body = DeletionMove.model_validate(deletions.moment(sent(by="due_at", due_at=typed, grace="3d")))

    assert body.due_at is not None
    assert (body.due_at.isoformat(), body.grace) == ("2026-11-24T09:00:00+00:00", None)


def test_no_grace_is_the_usual_one() -> None:
    """An empty field is left out."""
    assert deletions.moment(sent(by="grace", grace="")) == {}


@pytest.mark.parametrize("typed", ["", "soon", "2026-13-40T99:99"])
def test_what_is_no_time_is_refused_and_not_taken_for_the_usual_grace(typed: str) -> None:
    """Somebody who meant a moment never gets three days instead."""
    with pytest.raises(ValidationError):
        NewDeletion.model_validate(deletions.wish(sent(by="due_at", due_at=typed, reason="old", confirm="shop")))


@pytest.mark.parametrize(
    ("phase", "seconds", "holds", "expected"),
    [
        ("scheduled", 5, (), True),
        ("scheduled", -5, (), True),
        ("scheduled", 60, (), False),
        ("scheduled", -5, ("legal",), False),
        ("purging", -5, (), False),
        ("none", None, (), False),
    ],
)
def test_a_page_looks_often_when_it_is_due_at_any_moment(
    phase: str, seconds: float | None, holds: tuple[str, ...], expected: bool
) -> None:
    """Who watches the countdown end sees what comes then; what a hold blocks stays as it is."""
    due_at = None if seconds is None else NOW + timedelta(seconds=seconds)
    example = DeletionAnswer.model_json_schema()["examples"][0]
    shown = DeletionAnswer.model_validate({**example, "phase": phase, "due_at": due_at, "blocked_by": holds})

    assert deletions.is_due(shown, NOW) is expected


@pytest.mark.parametrize("receipt", ["", "not.a.receipt", "<script>"])
def test_a_receipt_that_is_not_genuine_states_nothing(receipt: str) -> None:
    """Not a word of it is shown as true."""
    found = deletions.proof(receipt, {"keys": []})

    assert found.stated == {}
    assert found.problem
