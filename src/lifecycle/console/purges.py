"""The steps of a purge as people follow them. Pure."""

from typing import NamedTuple

from lifecycle.api.shapes.deletions import PurgeAnswer
from lifecycle.console import words
from lifecycle.scheduler.model import ReceiptLine
from lifecycle.scheduler.purge import SUBSYSTEMS

_REMOVE = "remove-"
_TITLES = {
    "survey": "Look at what is there",
    "seal-deployments": "Stop rollouts, and serve nothing any more",
    "seal-certificates": "Stop renewals and challenges",
    "write-tombstone": "Sign the receipt, and write the tombstone",
}
_BEFORE = ("survey", "seal-deployments", "seal-certificates")
STEPS = (*_BEFORE, *(f"{_REMOVE}{one.name}" for one in SUBSYSTEMS), "write-tombstone")


class PurgeStep(NamedTuple):
    """One step.

    Attributes:
        state: `done`, `running` or `to-come`.
        line: what it removed, for the receipt.
    """

    title: str
    state: str
    line: ReceiptLine | None


def steps(progress: PurgeAnswer | None) -> tuple[PurgeStep, ...]:
    """Every step of a purge, in order.

    Args:
        progress: how far it is; None before its first step.
    """
    lines = {f"{_REMOVE}{line.subsystem}": line for line in progress.removed} if progress else {}
    at = 0
    if progress is not None:
        at = len(STEPS) if progress.step is None else _place(progress.step)
    return tuple(
        PurgeStep(_TITLES.get(name) or words.sentence(name), _state(place, at), lines.get(name))
        for place, name in enumerate(STEPS)
    )


def _place(step: str) -> int:
    """Where a step is; one of a newer release, that is not known here, stands before those that remove."""
    return STEPS.index(step) if step in STEPS else len(_BEFORE)


def _state(place: int, at: int) -> str:
    if place == at:
        return "running"
    return "done" if place < at else "to-come"
