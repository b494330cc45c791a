"""What is wrong with a request, a setting or a file, in plain words: the validator's own are those of a program. Pure.

Each mistake in a request says where it is: a JSON Pointer into the body (RFC 6901, as a URI fragment: section 6), as
the example of RFC 9457, section 3, has it; or the name of a parameter of query, path or header.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

_SHAPELESS = "is not of the form that is wanted"
_TIME = "must be a time in RFC 3339 with an offset, such as 2026-11-24T09:00:00Z"
_WHOLE_NUMBER, _NUMBER, _LIST = "must be a whole number", "must be a number", "must be a list"
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is missing",
        "extra_forbidden": "is not known here",
        "string_type": "must be text",
        "string_unicode": "must be text in UTF-8",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "int_type": _WHOLE_NUMBER,
        "int_parsing": _WHOLE_NUMBER,
        "int_parsing_size": _WHOLE_NUMBER,
        "int_from_float": _WHOLE_NUMBER,
        "float_type": _NUMBER,
        "float_parsing": _NUMBER,
        "finite_number": _NUMBER,
        "list_type": _LIST,
        "tuple_type": _LIST,
        "dict_type": "must be a JSON object",
        "mapping_type": "must be a JSON object",
        "model_type": "must be a JSON object",
        "model_attributes_type": "must be a JSON object",
        "path_type": "must be a path",
        "ip_any_address": "must be an IP address",
        "datetime_type": _TIME,
        "datetime_parsing": _TIME,
        "datetime_from_date_parsing": _TIME,
        "datetime_object_invalid": _TIME,
        "timezone_aware": _TIME,
    }
)
# What the patterns of the shapes mean; a unit test sees to it that none is missing.
_NO_CONTROL, _NO_NUL = "must be text without control characters", "must be text without the character NUL"
FORMS: Mapping[str, str] = MappingProxyType(
    {
        r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$": "must be at most 40 lower-case letters, digits and hyphens, with no "
        "hyphen at either end",
        r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$": "must be at most 64 lower-case letters, digits, dots, underscores "
        "and hyphens, with a letter or digit at either end",
        r"^[^\x00-\x1f\x7f]+$": _NO_CONTROL,
        r"^[^\x00-\x08\x0b-\x1f\x7f]+$": _NO_CONTROL,
        r"^[^\x00-\x1f\x7f]*$": _NO_CONTROL,
        r"^[^\x00-\x1f\x7f]*@[^\x00-\x1f\x7f]+$": "must be a mail address, with or without a name before it",
        r"^[a-z_]+(\.([a-z_]+|\*))?$": "must be an action such as deletion.scheduled, or a family such as deletion.*",
        "^(auto|json|text)$": "must be auto, json or text",
        r"^[^\x00]+$": _NO_NUL,
        r"^[^\x00]*$": _NO_NUL,
        r"^[!-~]+$": "must be one word of ASCII characters",
        r"^/[!-~]*$": "must be a path that begins with a slash, of ASCII characters without blanks",
        r"^[0-9a-f]{7,64}$": "must be 7 to 64 digits of a hexadecimal number, in lower case",
        r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$": "must be a reference to an image, such as registry.example.com/shop:1",
        r"^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$": "must be at most 60 lower-case letters, digits and hyphens, with no "
        "hyphen at either end",
        r"^(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$": "must be a host and a port, such as 192.0.2.53:53",
        r"https://[^\s]+": "must be a URL that begins with https://",
        r"^[a-z0-9_]([a-z0-9_.-]*[a-z0-9])?$": "must be the name of a zone in lower case, without a dot at the end",
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$": "must be a domain in lower case",
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$": "must be a domain in lower case",
        r"^[A-Za-z_][A-Za-z0-9_]*$": "must be letters, digits and underscores, and not begin with a digit",
    }
)


class Mistake(NamedTuple):
    """One thing that is wrong.

    Attributes:
        field: where, as people write it: `names.0`; `body` for the whole body.
        detail: what, without a full stop.
        place: the member that says where to programs: `pointer` or `parameter`, and its value.
    """

    field: str
    detail: str
    place: tuple[str, str]

    @property
    def member(self) -> Mapping[str, str]:
        """As a member of `errors` of a problem document."""
        name, value = self.place
        return {name: value, "detail": self.detail}


def mistakes(found: Sequence[Mapping[str, Any]]) -> Sequence[Mistake]:
    """What the validator has found, in plain words.

    Args:
        found: its errors, each with `type`, `loc`, `ctx`.
    """
    # A list is counted without the entries that are wrong, and then said to have too few.
    inside = {tuple(one["loc"][:-1]) for one in found}
    return [_mistake(one) for one in found if not (one["type"] == "too_short" and tuple(one["loc"]) in inside)]


def unreadable(found: Mapping[str, Any]) -> str:
    """Why a body is not JSON, from the validator's error of the type `json_invalid`."""
    place = found["loc"][-1]
    return f"it cannot be read from character {place + 1} on" if isinstance(place, int) else "it cannot be read"


def detail(found: Mapping[str, Any]) -> str:
    """What is wrong, without a full stop, from one of the validator's errors."""
    kind, given = str(found["type"]), found.get("ctx") or {}
    if kind == "value_error":
        return str(given["error"])  # our own words
    if kind in _BOUNDED:
        return _BOUNDED[kind](given)
    return _WORDS.get(kind, _SHAPELESS)


def _mistake(found: Mapping[str, Any]) -> Mistake:
    source, *parts = found["loc"]
    what = detail(found)
    field = ".".join(str(part) for part in parts)
    if source == "body":
        pointer = "#" + "".join(f"/{_escaped(str(part))}" for part in parts)
        return Mistake(field or "body", what, ("pointer", pointer))
    return Mistake(field or str(source), what, ("parameter", field or str(source)))


def _escaped(part: str) -> str:
    """One step of a JSON Pointer (RFC 6901, sections 3 and 6)."""
    return quote(part.replace("~", "~0").replace("/", "~1"), safe="~", errors="replace")


def _at_least(count: int, what: str) -> str:
    return "must not be empty" if count == 1 else f"must have at least {count} {what}"


def _form(given: Mapping[str, Any]) -> str:
    return FORMS.get(given["pattern"], _SHAPELESS)


_BOUNDED: Mapping[str, Callable[[Mapping[str, Any]], str]] = MappingProxyType(
    {
        "enum": lambda given: f"must be {given['expected']}",
        "literal_error": lambda given: f"must be {given['expected']}",
        "string_too_short": lambda given: _at_least(given["min_length"], "characters"),
        "string_too_long": lambda given: f"must have at most {given['max_length']} characters",
        "too_short": lambda given: _at_least(given["min_length"], "entries"),
        "too_long": lambda given: f"must have at most {given['max_length']} entries",
        "greater_than": lambda given: f"must be more than {given['gt']:g}",
        "greater_than_equal": lambda given: f"must be at least {given['ge']:g}",
        "less_than": lambda given: f"must be less than {given['lt']:g}",
        "less_than_equal": lambda given: f"must be at most {given['le']:g}",
        "string_pattern_mismatch": _form,
    }
)
