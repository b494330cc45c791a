"""Deployments and domains, as HTTP shows them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StrictBool, StrictInt, StringConstraints, model_validator

from lifecycle.api.shapes.base import EXAMPLE_PROJECT, Answer, Asked
from lifecycle.deploy.model import Environment, Status

EXAMPLE_DEPLOYMENT = "dep_01kahv3q5jc1s6v0n8w2k4m7xz"
_MOST_VARIABLES = 500
_MOST_VARIABLE_CHARACTERS = 100_000

# No control characters, and nothing that a shell or a URL would take for more than a word.
_Word = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]+$")]
_Image = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")]
_Branch = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")]
_Path = Annotated[str, StringConstraints(max_length=1000, pattern=r"^/[!-~]*$")]
_VariableName = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_VariableValue = Annotated[str, StringConstraints(max_length=32_768, pattern=r"^[^\x00]*$")]


class NewDeployment(Asked):
    """What to deploy: an image, a command, or a source that is uploaded afterwards."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"environment": "production", "command": ["python3", "-m", "http.server"], "directory": "/srv/shop"},
                {"environment": "preview", "image": "registry.example.com/shop:7f3c2a1", "branch": "feat/cart"},
            ]
        }
    )

    environment: Environment
    image: _Image | None = Field(default=None, description="OCI reference, for regions that run images.")
    command: tuple[_Word, ...] = Field(
        default=(), max_length=200, description="What to run; for an image, instead of its own command."
    )
    directory: str | None = Field(default=None, max_length=1000, description="Working directory of the command.")
    source: StrictBool = Field(
        default=False, description="Build an image from a tarball, uploaded with PUT /v1/deployments/{id}/source."
    )
    branch: _Branch | None = None
    commit_sha: _Sha | None = None
    port: StrictInt | None = Field(
        default=None, ge=1, le=65535, description="Where instances listen; left out, they are told in `PORT`."
    )
    replicas: StrictInt = Field(default=1, ge=1, le=8, description="Instances in each region.")
    regions: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=50, description="Where to run; left out, everywhere it can."
    )
    health_path: _Path = Field(default="/", description="Asked with GET; an answer below 500 means healthy.")
    watch_seconds: float = Field(
        default=0, ge=0, le=3600, description="Roll back by itself when it gets ill so soon after it went live."
    )
    memory_mib: StrictInt = Field(default=512, ge=16, le=1_048_576, description="Most memory of an instance.")
    cpu_millicores: StrictInt = Field(default=1000, ge=10, le=256_000, description="Most CPU of an instance.")
    auth_key_id: str | None = Field(default=None, max_length=100, description="Key that requests must carry.")
    env: Mapping[_VariableName, _VariableValue] = Field(
        default={}, max_length=_MOST_VARIABLES, description="Environment variables; sealed, and never shown again."
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if self.source and (self.image or self.command):
            raise ValueError("a source brings its own image and command; leave out 'image' and 'command'")
        if not self.source and not self.image and not self.command:
            raise ValueError("give 'image', 'command' or 'source'")
        if sum(len(name) + len(value) for name, value in self.env.items()) > _MOST_VARIABLE_CHARACTERS:
            raise ValueError(f"'env' has more than {_MOST_VARIABLE_CHARACTERS} characters in all")
        return self


class StepAnswer(Answer):
    """One step of a rollout; `error` of one that goes on is the trouble that it is in."""

    name: str
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None
    attempts: int
    error: str


class InstanceAnswer(Answer):
    """One instance."""

    id: str
    region: str
    address: str | None


class AvailableAction(Answer):
    """Whether something can be done now, and if not, the refusal that it would get."""

    action: str
    allowed: bool
    code: str | None = None
    reason: str | None = None
    hint: str | None = None


class DeploymentAnswer(Answer):
    """A deployment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_DEPLOYMENT,
                    "project": EXAMPLE_PROJECT,
                    "environment": "production",
                    "status": "ready",
                    "message": "",
                    "live": True,
                    "pinned": False,
                    "running": True,
                    "image": None,
                    "command": ["python3", "-m", "http.server"],
                    "branch": None,
                    "commit_sha": None,
                    "replicas": 1,
                    "regions": ["local"],
                    "created_at": "2026-11-21T09:00:00.000Z",
                    "created_by": "ada@example.com",
                    "steps": [
                        {
                            "name": "start-instances",
                            "started_at": "2026-11-21T09:00:00.100Z",
                            "ended_at": "2026-11-21T09:00:00.300Z",
                            "duration_seconds": 0.2,
                            "attempts": 1,
                            "error": "",
                        }
                    ],
                    "domains": ["shop-dev.lifecycle.localhost"],
                    "instances": [
                        {"id": f"{EXAMPLE_DEPLOYMENT}.local.0", "region": "local", "address": "127.0.0.1:21034"}
                    ],
                    "available_actions": [
                        {
                            "action": "stop",
                            "allowed": False,
                            "code": "deployment_live",
                            "reason": f"Deployment {EXAMPLE_DEPLOYMENT} is live and cannot be stopped.",
                            "hint": "Deploy, promote or roll back to another one first.",
                        }
                    ],
                }
            ]
        }
    )

    id: str
    project: str
    environment: Environment
    status: Status
    message: str = Field(description="Why it is not as it was asked for, for the user.")
    live: bool
    pinned: bool = Field(description="Whether a rollback keeps the live domains of the environment where they are.")
    running: bool
    image: str | None
    command: tuple[str, ...]
    branch: str | None
    commit_sha: str | None
    replicas: int
    regions: tuple[str, ...]
    created_at: datetime
    created_by: str
    steps: tuple[StepAnswer, ...]
    domains: tuple[str, ...] = Field(description="Where it serves now.")
    instances: tuple[InstanceAnswer, ...]
    available_actions: tuple[AvailableAction, ...] = Field(
        description="Empty while the engine cannot be asked, which decides about it."
    )


class DeploymentList(Answer):
    """A page of deployments."""

    items: tuple[DeploymentAnswer, ...]
    next_cursor: str | None


def seconds(started_at: datetime, ended_at: datetime | None) -> float | None:
    """How long something took."""
    return None if ended_at is None else (ended_at - started_at) / timedelta(seconds=1)


def step(row: Any) -> StepAnswer:
    """A step as the store has it."""
    return StepAnswer(**row._asdict(), duration_seconds=seconds(row.started_at, row.ended_at))
