"""Audit log, tombstones and API keys, as HTTP shows them."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from lifecycle.api.shapes.base import EXAMPLE_DUE, EXAMPLE_PROJECT, Answer, Asked, Name
from lifecycle.models import Role


class AuditAnswer(Answer):
    """One entry of the audit log."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": f"{EXAMPLE_PROJECT}.2",
                    "project": EXAMPLE_PROJECT,
                    "action": "deletion.scheduled",
                    "actor": "ada@example.com",
                    "actor_key": "key_01kahv3q5jc1s6v0n8w2k4m7xz",
                    "at": "2026-11-21T09:00:00.000Z",
                    "detail": {"due_at": EXAMPLE_DUE, "reason": "replaced by shop2"},
                }
            ]
        }
    )

    id: str
    project: str | None
    action: str
    actor: str
    actor_key: str | None
    at: datetime
    detail: dict[str, Any]


class TombstoneAnswer(Answer):
    """What remains of a deleted project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "project": EXAMPLE_PROJECT,
                    "slug": "shop",
                    "deleted_at": "2026-11-24T09:00:01.000Z",
                    "generation": 1,
                    "receipt": "eyJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLiJ9.eyJwcm9qZWN0IjoiLi4uIn0.c2lnbmF0dXJl",
                }
            ]
        }
    )

    project: str
    slug: str
    deleted_at: datetime
    generation: int
    receipt: str


class AuditList(Answer):
    """A page of the audit log."""

    items: tuple[AuditAnswer, ...]
    next_cursor: str | None


class NewKey(Asked):
    """An API key to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"person": "bob@example.com", "role": "operator"}]})

    person: Name = Field(description="Whose key it is. Two keys of one person are not two administrators.")
    role: Role


class KeyAnswer(Answer):
    """An API key without its secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "key_01kahv3q5jc1s6v0n8w2k4m7xz",
                    "person": "bob@example.com",
                    "role": "operator",
                    "created_at": "2026-11-21T09:00:00.000Z",
                    "created_by": "ada@example.com",
                    "revoked_at": None,
                }
            ]
        }
    )

    id: str
    person: str
    role: Role
    created_at: datetime
    created_by: str
    revoked_at: datetime | None


class CreatedKey(Answer):
    """A key just made. The token is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "key_01kahv3q5jc1s6v0n8w2k4m7xz",
                    "token": "lck_01kahv3q5jc1s6v0n8w2k4m7xz_…",
                    "person": "bob@example.com",
                    "role": "operator",
                }
            ]
        }
    )

    id: str
    token: str
    person: str
    role: Role


class KeyList(Answer):
    """The keys of the workspace."""

    items: tuple[KeyAnswer, ...]
    next_cursor: str | None = None


class Explanation(Answer):
    """What an error code means; `{name}` stands for a value of the refusal."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "slug_taken",
                    "status": 409,
                    "message": "The slug {slug} is in use in this workspace.",
                    "hint": "Choose another slug, or use the existing project.",
                }
            ]
        }
    )

    code: str
    status: int
    message: str
    hint: str
