"""What an audit entry or a message says besides who and when, for people. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lifecycle.certs.acme import Reason

# As the ledger writes times (RFC 3339).
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
# What says most about an entry, the most telling first.
_TELLING = (
    "reason",
    "message",
    "error",
    "slug",
    "hold",
    "domain",
    "url",
    "address",
    "person",
    "role",
    "due_at",
    "deployment",
    "environment",
    "version",
)
_ABBREVIATIONS = {"ca": "CA", "url": "URL"}
_MOST_TELLING = 3
_LONGEST = 160


class Line(NamedTuple):
    """One thing that is said. `is_moment`: whether the value is a time in RFC 3339."""

    label: str
    value: str
    is_moment: bool


def lines(detail: Mapping[str, Any]) -> list[Line]:
    """Everything, one line each; what is inside of something gets its name before its own."""
    return list(_lines(detail, ""))


def gist(detail: Mapping[str, Any]) -> list[Line]:
    """The two or three things that say most, shortened."""
    found = lines(detail)
    by_name = {line.label: line for line in found}
    chosen = [by_name[label] for name in _TELLING if (label := _label(name)) in by_name] or found
    return [
        line._replace(value=f"{line.value[: _LONGEST - 1]}…") if len(line.value) > _LONGEST else line
        for line in chosen[:_MOST_TELLING]
    ]


def _lines(value: Any, prefix: str) -> Iterator[Line]:
    match value:
        case None | "":
            return
        case int() if prefix == "Reason" and value in set(Reason):
            yield _line(prefix, Reason(value).name.replace("_", " ").lower())
        case Mapping():
            for name, inner in value.items():
                yield from _lines(inner, f"{prefix}: {_lower(_label(name))}" if prefix else _label(name))
        case Sequence() if not isinstance(value, str):
            if any(isinstance(one, Mapping | list) for one in value):
                for number, one in enumerate(value, start=1):
                    yield from _lines(one, f"{prefix} {number}")
            elif value:
                yield _line(prefix, ", ".join(_text(one) for one in value))
        case _:
            yield _line(prefix, _text(value))


def _line(label: str, value: str) -> Line:
    return Line(label, value, _MOMENT.fullmatch(value) is not None)


def _text(value: object) -> str:
    match value:
        case True:
            return "yes"
        case False:
            return "no"
        case _:
            return str(value)


def _lower(label: str) -> str:
    return label if label.isupper() else label.lower()


def _label(name: str) -> str:
    text = name.replace("_", " ").replace("-", " ").strip()
    text = text.removesuffix(" at")
    return _ABBREVIATIONS.get(text, text[:1].upper() + text[1:])
