"""Log lines: JSON for machines, one line of text for people; each says what it belongs to.

What a line belongs to comes from where it is written: `bind` notes it for the request or the handler that runs. A
handler that is replayed passes its log calls again; these lines are dropped.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from restate.server_context import restate_context_is_replaying

_EMPTY: Mapping[str, str | int] = MappingProxyType({})
_bound: ContextVar[Mapping[str, str | int]] = ContextVar("lifecycle_log_context", default=_EMPTY)


def bind(**values: str | int | None) -> None:
    """Add to what the lines of this request or handler belong to; what is None is left out."""
    known = {name: value for name, value in values.items() if value is not None}
    _bound.set({**_bound.get(), **known})


def bound() -> Mapping[str, str | int]:
    """What the lines written now belong to."""
    return _bound.get()


class NotReplayed(logging.Filter):
    """Lets a line pass unless a handler that is replayed writes it: it was written when that ran first."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  as logging calls it
        """Whether the line is written."""
        return not restate_context_is_replaying.get()


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and what it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break."""
        line: dict[str, object] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **bound(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """For people: time, level, logger, message, and what it belongs to as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback follows on lines of its own."""
        parts = [_moment(record), record.levelname, record.name, record.getMessage()]
        line = " ".join([*parts, *(f"{name}={value}" for name, value in bound().items())])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def to_stderr(chosen: str = "auto") -> None:
    """Have every line of this process written to stderr, from level INFO on.

    Args:
        chosen: `json`, `text`, or `auto`, which is text on a terminal and JSON elsewhere.
    """
    is_text = sys.stderr.isatty() if chosen == "auto" else chosen == "text"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if is_text else JsonLines())
    handler.addFilter(NotReplayed())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _moment(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
