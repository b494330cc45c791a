"""Durations as people write them: `72h`, `3d`, `1h30m`, `500ms`, or ISO 8601 (`P3D`)."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter, ValidationError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|[smhdw])", re.ASCII)
_WHOLE = re.compile(r"(?:\d{1,12}(?:\.\d{1,6})?(?:ms|[smhdw]))+", re.ASCII)
_ISO = TypeAdapter(timedelta)


def parse(text: str) -> timedelta:
    """The length of time that `text` says.

    Raises:
        ValueError: when it says none, or a negative one, or bare numbers whose unit would be a guess.
    """
    if _WHOLE.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        try:
            return timedelta(seconds=seconds)
        except OverflowError as error:
            raise ValueError("a duration too long; write for example 72h, 3d, 1h30m or P3D") from error
    if text.startswith("P"):
        try:
            return _ISO.validate_python(text)
        except ValidationError:
            pass
    raise ValueError("not a duration; write for example 72h, 3d, 1h30m or P3D")


def humanize(span: timedelta) -> str:
    """`span` in its two largest units, such as `2d 23h` or `45s`; `0s` when nothing is left."""
    seconds = round(span.total_seconds())
    if seconds <= 0:
        return "0s"
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def _from_text(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("not a duration; write text such as 72h, 3d, 1h30m or P3D")  # noqa: TRY004  pydantic
    return parse(value)


Duration = Annotated[timedelta, BeforeValidator(_from_text)]
