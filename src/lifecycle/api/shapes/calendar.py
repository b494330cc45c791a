"""Links to the calendar feed, as HTTP shows them."""

from datetime import datetime

from pydantic import ConfigDict

from lifecycle.api.shapes.base import Answer

_EXAMPLE_ID = "cal_01kahv3q5jc1s6v0n8w2k4m7xz"


class CreatedLink(Answer):
    """A link just made. The address is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _EXAMPLE_ID,
                    "url": "https://lifecycle.example.com/v1/actions.ics?token=lcl_01kahv3q5jc1s6v0n8w2k4m7xz_…",
                    "person": "ada@example.com",
                }
            ]
        }
    )

    id: str
    url: str
    person: str


class LinkAnswer(Answer):
    """A link without its secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _EXAMPLE_ID,
                    "person": "ada@example.com",
                    "created_at": "2026-11-21T09:00:00.000Z",
                    "revoked_at": None,
                }
            ]
        }
    )

    id: str
    person: str
    created_at: datetime
    revoked_at: datetime | None


class LinkList(Answer):
    """Links, newest first."""

    items: tuple[LinkAnswer, ...]
    next_cursor: str | None = None
