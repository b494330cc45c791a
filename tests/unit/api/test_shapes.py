"""What the API accepts as times and lengths of time, before anything else sees it."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from lifecycle.api.shapes.deletions import NewDeletion


@pytest.mark.parametrize("due_at", ["2026-11-24T09:00:00Z", "2026-11-24T10:00:00+01:00", "2026-11-24T09:00:00.000Z"])
def test_a_due_time_is_kept_in_utc(due_at: str) -> None:
    """In whatever zone somebody writes a time, everybody is shown the same."""
    moment = NewDeletion.model_validate({"due_at": due_at}).due_at

    assert moment is not None
    assert moment.isoformat() == datetime(2026, 11, 24, 9, tzinfo=UTC).isoformat()


@pytest.mark.parametrize("due_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_due_time_outside_every_calendar_is_refused_here(due_at: str) -> None:
    """A time that does not exist in UTC is refused at once, and never reaches the project's own queue."""
    with pytest.raises(ValidationError):
        NewDeletion.model_validate({"due_at": due_at})


@pytest.mark.parametrize(
    "due_at", [1_795_510_800, "1795510800", "2026-11-24T09:00:00", "2026-11-24", "tomorrow", True], ids=repr
)
def test_a_due_time_that_leaves_a_doubt_is_refused(due_at: object) -> None:
    """A time without an offset, or as a bare number, would be a guess."""
    with pytest.raises(ValidationError):
        NewDeletion.model_validate({"due_at": due_at})


def test_a_grace_is_read_as_people_write_it() -> None:
    """72h, 3d and P3D are the same grace."""
    graces = [NewDeletion.model_validate({"grace": text}).grace for text in ("72h", "3d", "P3D", "71h60m")]

    assert graces == [timedelta(days=3)] * 4


@pytest.mark.parametrize("grace", [72, 72.5, "72", "soon", "", "-1h", "1000000000d", "99999999999w", True], ids=repr)
def test_a_grace_that_is_none_is_refused(grace: object) -> None:
    """Bare numbers, nonsense and lengths beyond all bounds are refused, not guessed."""
    with pytest.raises(ValidationError):
        NewDeletion.model_validate({"grace": grace})


def test_unknown_fields_are_refused() -> None:
    """A misspelt field is a mistake to be told of, not one to be ignored."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        NewDeletion.model_validate({"grase": "72h"})
