"""Projects, as HTTP shows them."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field, StrictBool

from lifecycle.api.shapes.base import EXAMPLE_PROJECT, Answer, Asked, Name
from lifecycle.ids import Slug


class NewProject(Asked):
    """A project to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"slug": "shop", "name": "Web shop"}]})

    slug: Slug = Field(description="Its name in addresses: a DNS label of at most 40 characters.")
    name: Name | None = Field(default=None, description="Its name for people; the slug when left out.")


class ProjectChange(Asked):
    """Settings to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"protected": True}]})

    name: Name | None = None
    protected: StrictBool | None = Field(default=None, description="Whether deletions are refused.")


class ProjectAnswer(Answer):
    """A project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_PROJECT,
                    "slug": "shop",
                    "name": "Web shop",
                    "state": "active",
                    "protected": False,
                    "environments": ["production", "preview"],
                    "created_at": "2026-11-21T09:00:00.000Z",
                }
            ]
        }
    )

    id: str
    slug: str
    name: str
    state: Literal["active", "scheduled", "purging", "deleted"]
    protected: bool
    environments: tuple[str, ...]
    created_at: datetime


class ProjectList(Answer):
    """A page of projects."""

    items: tuple[ProjectAnswer, ...]
    next_cursor: str | None
