"""The standby of a deployment, as HTTP shows it."""

from datetime import datetime

from pydantic import ConfigDict

from lifecycle.api.shapes.base import EXAMPLE_DUE, Answer
from lifecycle.api.shapes.deployments import EXAMPLE_DEPLOYMENT
from lifecycle.deploy.standby import Standby


class StandbyAnswer(Answer):
    """When a deployment that was replaced is stopped; `due_at` is null when it is not going to be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "deployment": EXAMPLE_DEPLOYMENT,
                    "label": "production #3 (main)",
                    "due_at": EXAMPLE_DUE,
                    "generation": 1,
                    "requested_by": "ada@example.com",
                }
            ]
        }
    )

    deployment: str
    label: str
    due_at: datetime | None
    generation: int
    requested_by: str


def standby_answer(deployment: str, standby: Standby) -> StandbyAnswer:
    """A standby as the engine has it."""
    return StandbyAnswer(
        deployment=deployment,
        label=standby.label,
        due_at=standby.countdown.due_at,
        generation=standby.countdown.generation,
        requested_by=standby.requested_by,
    )
