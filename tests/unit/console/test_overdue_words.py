"""What pages say of a deletion whose time has come, before it has begun."""

from datetime import timedelta
from typing import Any

import pytest

from lifecycle import clock
from lifecycle.api.shapes.deletions import DeletionAnswer
from lifecycle.console import rights, words
from lifecycle.console.deletions import Subject
from lifecycle.console.hosts import Hosts
from lifecycle.console.pages import page
from lifecycle.console.sessions import Visitor
from lifecycle.models import Actor, Role

NOW = clock.now()
ADA = Actor(workspace="ws", key="key", person="ada@example.com", role=Role.VIEWER)


@pytest.mark.parametrize(
    ("due_in", "begins"),
    [(timedelta(hours=3), "<time"), (timedelta(0), "due <time"), (-timedelta(hours=3), "due <time")],
)
def test_what_has_not_happened_is_due(due_in: timedelta, begins: str) -> None:
    """A renewal that is late is not one that was “renewed 3h ago”."""
    assert words.upcoming(NOW + due_in, NOW).startswith(begins)


def shown(template: str, due_in: timedelta) -> str:
    """A part of a page about a deletion that is due so long from now, as somebody reads it."""
    example = DeletionAnswer.model_json_schema()["examples"][0]
    due = {"phase": "scheduled", "due_at": clock.now() + due_in, "blocked_by": ()}
    given: dict[str, Any] = {
        "deletion": DeletionAnswer.model_validate({**example, **due}),
        "project": Subject("prj_1", "shop", None, None),
        "may": rights.of(ADA),
        "hosts": Hosts((), 0),
        "impact": None,
        "sent": (),
    }
    text = bytes(page(template, Visitor(ADA, "token"), **given).body).decode()
    return " ".join(text.split())


@pytest.mark.parametrize("template", ["deletion_banner.html", "deletion_scheduled.html"])
def test_what_is_late_was_due_and_can_be_undone(template: str) -> None:
    """“This project is deleted 10m ago” would be untrue: it is there, and undo still works."""
    late, early = shown(template, timedelta(minutes=-10)), shown(template, timedelta(days=3))

    assert "was due <time" in late
    assert "begins at any moment" in late
    assert "undo still works" in late
    assert "is deleted <time" not in late
    assert "was due" not in early
