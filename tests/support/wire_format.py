"""What the engine keeps and sends, as JSON schemas, and which changes of them an old message survives.

python -m tests.support.wire_format      writes tests/unit/wire_format.json anew, if nothing breaks
"""

import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lifecycle.models import Durable
from tests.support import tidy

SNAPSHOT = Path(__file__).parents[1] / "unit" / "wire_format.json"

Schemas = Mapping[str, Mapping[str, Any]]

# Words for people; they may change at any time. A default only matters where a field is missing.
_WORDS = ("title", "description", "default", "examples")


def present() -> Schemas:
    """The schema of every durable model in the package, by module and name."""
    for source in tidy.package():
        if Durable.__name__ in source.text:
            importlib.import_module(f"{tidy.PACKAGE}.{source.module}")
    return {
        f"{model.__module__.removeprefix(f'{tidy.PACKAGE}.')}.{model.__qualname__}": _without_words(
            model.model_json_schema()
        )
        for model in sorted(_models(Durable), key=lambda model: (model.__module__, model.__qualname__))
    }


def snapshot() -> Schemas:
    """The schemas as they were when somebody last looked."""
    found: Schemas = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return found


def breaks(before: Schemas, after: Schemas) -> Sequence[str]:
    """What would make a message or state of the former release unreadable, or read as something else."""
    return [
        complaint
        for name, old in before.items()
        for complaint in (_changes(name, old, after[name]) if name in after else [f"{name} is gone; keep it"])
    ]


def _changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    definitions = {**old.get("$defs", {}), "": old}
    for part, former in definitions.items():
        latter = new if part == "" else new.get("$defs", {}).get(part)
        where = f"{name}.{part}".rstrip(".")
        if latter is None:
            yield f"{where} is gone; keep it"
        elif "enum" in former:
            yield from (
                f"{where} lost the value {value!r}; keep it" for value in former["enum"] if value not in latter["enum"]
            )
        else:
            yield from _field_changes(where, former, latter)


def _field_changes(where: str, former: Mapping[str, Any], latter: Mapping[str, Any]) -> Iterator[str]:
    old_fields, new_fields = former.get("properties", {}), latter.get("properties", {})
    required, former_required = set(latter.get("required", ())), set(former.get("required", ()))
    for field, kind in old_fields.items():
        if field not in new_fields:
            yield f"{where}.{field} is gone or renamed; keep it"
        elif new_fields[field] != kind:
            yield f"{where}.{field} was {kind} and is {new_fields[field]}; add a field of another name"
    for field in sorted(required - former_required):
        yield f"{where}.{field} is required, and old messages do not have it; give it a default"


def _models(model: type[Durable]) -> Iterator[type[Durable]]:
    for child in model.__subclasses__():
        if child.__module__.startswith(f"{tidy.PACKAGE}."):
            yield child
        yield from _models(child)


def _without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        # The names below `properties` are fields, one of which may be called `title`.
        return {
            name: {field: _without_words(kind) for field, kind in part.items()}
            if name in ("properties", "$defs")
            else _without_words(part)
            for name, part in schema.items()
            if name not in _WORDS
        }
    return [_without_words(one) for one in schema] if isinstance(schema, list) else schema


def main() -> None:
    """Take the present schemas as the new snapshot, unless they break the old one."""
    now = present()
    if SNAPSHOT.exists() and (broken := breaks(snapshot(), now)):
        sys.exit("\n".join(broken))
    SNAPSHOT.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
