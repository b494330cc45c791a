"""What all shapes share: text that may be printed, times, and the two kinds of bodies."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, StringConstraints

# Printable text of any language; control characters would garble logs and terminals.
_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$")]


def _only_text(value: object) -> object:
    if isinstance(value, datetime):  # from us; what comes in is text
        return value
    if not isinstance(value, str) or "-" not in value:
        raise ValueError("not a time; write RFC 3339 with an offset, such as 2026-11-24T09:00:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside the calendar") from error


Moment = Annotated[AwareDatetime, BeforeValidator(_only_text), AfterValidator(_in_utc)]

EXAMPLE_PROJECT = "prj_01kahv3q5jc1s6v0n8w2k4m7xz"
EXAMPLE_DUE = "2026-11-24T09:00:00.000Z"


class Asked(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)
