"""Writes docs/errors.md, docs/settings.md, docs/events.md and docs/api.md from the code: `make docs`.

Each page is made by a function that returns it, so that the unit tests can tell when a page is out of date.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from lifecycle.api.app import create_app
from lifecycle.durations import humanize
from lifecycle.errors import CATALOG, explanation
from lifecycle.notifications import events
from lifecycle.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"

_MADE = "<!-- Made by scripts/generate_docs.py; run `make docs` instead of editing. -->"

_ERRORS = f"""# Errors

{_MADE}

Every refusal is a problem document (RFC 9457) with a stable `code`, a sentence in `detail` and advice in `hint`.
Programs may branch on the code; the words may change. `GET /errors/{{code}}` explains one code.
The command line prints the same sentence and hint, and exits with 2 for a status below 500 and with 1 for the others.
Names in braces stand for values, which the document also carries as members of their own.
One with `invalid_request` lists every mistake in `errors`: `detail` in words, and either `pointer`, which is a JSON
Pointer into the body such as `#/names/0`, or `parameter`, the name of a parameter of query, path or header.
"""

_SETTINGS = f"""# Settings

{_MADE}

Lifecycle is set up by environment variables, and only by these. A value outside its bounds stops the start with a
message that names the variable. Durations are written `72h`, `3d`, `1h30m`, `500ms` or in ISO 8601 (`P3D`).
`LIFECYCLE_DELETION_MIN_GRACE` ≤ `LIFECYCLE_DELETION_GRACE` ≤ `LIFECYCLE_DELETION_MAX_GRACE` must hold.
"""

_EVENTS = f"""# Events

{_MADE}

The types of events that webhooks and mail can tell of, and that the audit log has as actions. A filter names types,
all of a family such as `alarm.*`, or `*`. Later releases may add types. [notifications.md](notifications.md) says how
they are sent.
"""

_API = f"""# API

{_MADE}

The same as a machine reads it is at `/openapi.json`, and to try out at `/docs`.

Send an API key as `Authorization: Bearer …`. Times are RFC 3339 in UTC; durations are `72h`, `3d` or ISO 8601.
`ETag` is the generation of a pending action, and `If-Match` acts on exactly that one. With an `Idempotency-Key`, a
repeated POST gets the first answer. Lists come in pages: send `next_cursor` as `cursor` to go on.
Any key can read, unless a role is named; what changes something names the role that it needs. Each role includes the
ones before it: viewer, operator, administrator.
Every error is a problem document; [errors.md](errors.md) lists the codes.
"""

_TYPES = {
    "bool": "true or false",
    "float": "number",
    "int": "whole number",
    "Path": "path",
    "SecretStr": "text, secret",
    "str": "text",
    "timedelta": "duration",
    "tuple": "list, comma separated",
}
_BOUNDS = (
    (annotated_types.Ge, "ge", "at least"),
    (annotated_types.Gt, "gt", "more than"),
    (annotated_types.Le, "le", "at most"),
    (annotated_types.Lt, "lt", "less than"),
)
_ROLE = re.compile(r"\b(viewer|operator|administrator)\b")


def errors() -> str:
    """The page of all error codes."""
    rows = [(f"`{code.value}`", str(row.status), *explanation(code)) for code, row in CATALOG.items()]
    return f"{_ERRORS}\n{_table(('code', 'status', 'sentence', 'hint'), rows)}"


def settings() -> str:
    """The page of all settings."""
    rows = [
        (
            f"`LIFECYCLE_{name.upper()}`",
            _type(field),
            _shown(field.default),
            ", ".join(_bounds(field)),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    return f"{_SETTINGS}\n{_table(('variable', 'type', 'default', 'bounds', 'what it sets'), rows)}"


def event_types() -> str:
    """The page of all types of events."""
    rows = [
        (f"`{one}`", sentence, "yes" if events.matches(events.BY_DEFAULT, one) else "")
        for one, sentence in events.TYPES.items()
    ]
    return f"{_EVENTS}\n{_table(('type', 'what happened', 'administrators get mail'), rows)}"


def api() -> str:
    """The page of all operations, by resource."""
    document = openapi()
    resources: dict[str, list[Operation]] = {}
    for operation in operations(document):
        resources.setdefault(operation.tag, []).append(operation)
    return "\n".join([_API, *(_resource(tag, some) for tag, some in resources.items())])


PAGES: Mapping[str, Callable[[], str]] = {
    "errors.md": errors,
    "settings.md": settings,
    "events.md": event_types,
    "api.md": api,
}


class Operation:
    """One method of one path, as the OpenAPI document has it."""

    def __init__(self, method: str, path: str, described: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
        self.name = f"{method.upper()} {path}"
        self.tag = str(described["tags"][0])
        self.summary: str = described.get("summary", "")
        self.description: str = described.get("description", "")
        self.responses: Mapping[str, Any] = described["responses"]
        self._request = described.get("requestBody", {})
        self._needs_key = "security" in described
        self._schemas = schemas

    @property
    def role(self) -> str:
        """The roles that its description names."""
        named = " or ".join(dict.fromkeys(_ROLE.findall(self.description)))
        return named or ("" if self._needs_key else "no key needed")

    @property
    def request(self) -> object | None:
        """An example of what is sent."""
        return self._example(self._request)

    @property
    def success(self) -> object | None:
        """An example of what a successful answer contains."""
        answers = (self._example(answer) for status, answer in self.responses.items() if status.startswith("2"))
        return next((answer for answer in answers if answer is not None), None)

    def _example(self, body: Mapping[str, Any]) -> object | None:
        content = body.get("content", {}).get("application/json", {})
        found: object | None = content.get("example")
        return example(content.get("schema", {}), self._schemas) if found is None else found


def openapi() -> dict[str, Any]:
    """The OpenAPI document of the API."""
    return create_app(Settings()).openapi()


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Every operation of an OpenAPI document."""
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            yield Operation(method, path, described, document["components"]["schemas"])


def example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> object | None:
    """The example of a schema: its own, or one put together from the examples of its parts."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "examples" in schema:
        return _ordered(schema["examples"][0], schema)
    if "anyOf" in schema:
        return next((one for choice in schema["anyOf"] if (one := example(choice, schemas)) is not None), None)
    if "items" in schema:
        item = example(schema["items"], schemas)
        return None if item is None else [item]
    parts = {name: example(part, schemas) for name, part in schema.get("properties", {}).items()}
    optional = {
        name for name, part in schema.get("properties", {}).items() if {"type": "null"} in part.get("anyOf", ())
    }
    return parts if any(parts.values()) and all(parts[name] or name in optional for name in parts) else None


def _ordered(found: object, schema: Mapping[str, Any]) -> object:
    """An example with its members in the order of the shape; pydantic sorts them by name."""
    if not isinstance(found, dict):
        return found
    return {name: found[name] for name in schema.get("properties", found) if name in found}


def _resource(tag: str, some: Sequence[Operation]) -> str:
    rows = [(f"`{one.name}`", one.summary, one.role) for one in some]
    parts = [f"## {tag.capitalize()}\n", _table(("method and path", "what it does", "role"), rows)]
    for one in some:
        parts.append(f"### {one.summary}\n\n`{one.name}`\n\n{one.description}\n")
        parts += [
            f"{title}\n\n```json\n{json.dumps(body, indent=2, ensure_ascii=False)}\n```\n"
            for title, body in (("Request:", one.request), ("Answer:", one.success))
            if body is not None
        ]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _type(field: FieldInfo) -> str:
    words = re.findall(r"\w+", str(field.annotation).replace("datetime.timedelta", "timedelta"))
    return next(_TYPES[word] for word in words if word in _TYPES)


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        for kind, attribute, words in _BOUNDS:
            if isinstance(bound, kind):
                yield f"{words} {_shown(getattr(bound, attribute))}"


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()  # a default is in the source for everybody to see
    if isinstance(value, timedelta):
        under_a_second = timedelta(0) < value < timedelta(seconds=1)
        return f"{value / timedelta(milliseconds=1):g}ms" if under_a_second else humanize(value)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == ():
        return ""
    return f"`{value}`" if isinstance(value, str) else str(value)


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
