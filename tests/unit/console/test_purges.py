"""The steps of a purge as people follow them."""

import pytest

from lifecycle.api.shapes.deletions import PurgeAnswer
from lifecycle.console import purges
from lifecycle.scheduler.model import ReceiptLine
from tests.support.factories import NOW

LINE = ReceiptLine(subsystem="instances", count=3, finished_at=NOW, evidence="no platform has one any more")


def states(progress: PurgeAnswer | None) -> list[str]:
    """The states of all steps."""
    return [step.state for step in purges.steps(progress)]


def test_before_its_first_step_the_first_is_under_way() -> None:
    """A purge that has just begun is not shown as one that stands still."""
    assert states(None) == ["running", *["to-come"] * (len(purges.STEPS) - 1)]


def test_steps_before_are_done_and_those_after_to_come() -> None:
    """One look says how far it is; what was removed stands beside its step."""
    shown = purges.steps(PurgeAnswer(step="remove-certificates", removed=(LINE,)))
    at = next(place for place, step in enumerate(shown) if step.title == "Remove certificates")

    assert [step.state for step in shown] == ["done"] * at + ["running"] + ["to-come"] * (len(shown) - at - 1)
    assert [step.line for step in shown if step.line] == [LINE]


def test_when_it_is_finished_all_are_done() -> None:
    """Between the last step and the tombstone nothing is shown as missing."""
    assert set(states(PurgeAnswer(step=None, removed=(LINE,)))) == {"done"}


@pytest.mark.parametrize("step", ["seal-something-new", "remove-something-new"])
def test_a_step_of_a_newer_release_breaks_nothing(step: str) -> None:
    """During an upgrade the console may be older than the worker."""
    assert states(PurgeAnswer(step=step, removed=())).count("running") == 1


def test_every_step_has_words() -> None:
    """No name of a step is shown as programs know it."""
    assert all("-" not in step.title for step in purges.steps(None))
