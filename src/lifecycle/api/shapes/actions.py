"""Pending actions, as HTTP shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from lifecycle.api.shapes.base import EXAMPLE_DUE, EXAMPLE_PROJECT, Answer, Asked, Moment
from lifecycle.ledger.entry import ActionState


class ActionAnswer(Answer):
    """A pending action. Its generation is also its ETag."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": f"project-deletion/{EXAMPLE_PROJECT}",
                    "kind": "project-deletion",
                    "key": EXAMPLE_PROJECT,
                    "label": "shop",
                    "project": EXAMPLE_PROJECT,
                    "due_at": EXAMPLE_DUE,
                    "state": "pending",
                    "generation": 1,
                    "reason": "replaced by shop2",
                    "requested_by": "ada@example.com",
                }
            ]
        }
    )

    id: str
    kind: str
    key: str
    label: str
    project: str | None
    due_at: datetime
    state: ActionState
    generation: int
    reason: str
    requested_by: str


class ActionSelection(Asked):
    """Which actions a bulk cancel means."""

    kind: str | None = Field(default=None, max_length=40)
    project: str | None = Field(default=None, max_length=63)
    due_before: Moment | None = None
    due_after: Moment | None = None


class BulkCancel(Asked):
    """Actions to cancel: by id, or all that a filter selects."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [f"project-deletion/{EXAMPLE_PROJECT}"]}]})

    ids: list[Annotated[str, StringConstraints(max_length=320)]] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    filter: ActionSelection | None = None


class BulkOutcome(Answer):
    """What became of one action."""

    id: str
    outcome: Literal["cancelled", "refused", "unknown"]
    generation: int | None = None
    code: str | None = None
    detail: str | None = None
    hint: str | None = None


class BulkAnswer(Answer):
    """An outcome per action."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"items": [{"id": f"project-deletion/{EXAMPLE_PROJECT}", "outcome": "cancelled", "generation": 1}]}
            ]
        }
    )

    items: tuple[BulkOutcome, ...]


class ActionList(Answer):
    """A page of actions."""

    items: tuple[ActionAnswer, ...]
    next_cursor: str | None
