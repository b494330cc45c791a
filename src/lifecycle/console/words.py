"""How the console says things: times, kinds, and what goes on behind their names. Pure."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from lifecycle.certs import model as certs
from lifecycle.deploy import standby
from lifecycle.durations import humanize
from lifecycle.scheduler import entries

KINDS: Mapping[str, str] = MappingProxyType(
    {
        entries.KIND: "Project deletion",
        standby.KIND: "Stop of a deployment",
        certs.KIND: "Certificate renewal",
    }
)


def kind(name: str) -> str:
    """The kind of an action, for people."""
    return KINDS.get(name, name.replace("-", " ").capitalize())


def sentence(name: str) -> str:
    """`start-instances`, `certificate.records_wanted` as words."""
    text = name.replace(".", ": ").replace("-", " ").replace("_", " ")
    return text[:1].upper() + text[1:]


def moment(at: datetime | str | None) -> Markup:
    """A time, to be read by people and programs; in the reader's own zone where the script runs."""
    if at is None or at == "":
        return Markup("-")
    when = _time(at)
    return Markup('<time datetime="{}">{} UTC</time>').format(_rfc3339(when), f"{when:%Y-%m-%d %H:%M:%S}")


def countdown(at: datetime | str, now: datetime) -> Markup:
    """How long until then, or since; the script lets it tick."""
    when = _time(at)
    rest = when - now
    text = f"in {humanize(rest)}" if rest > timedelta(0) else f"{humanize(-rest)} ago"
    return Markup('<time datetime="{}" data-countdown title="{} UTC">{}</time>').format(
        _rfc3339(when), f"{when:%Y-%m-%d %H:%M:%S}", text
    )


def upcoming(at: datetime | str, now: datetime) -> Markup:
    """How long until what is to happen then; what is late has not happened, and so is due."""
    return (Markup("") if _time(at) > now else Markup("due ")) + countdown(at, now)


def span(seconds: float | None) -> str:
    """A duration of a step."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else humanize(timedelta(seconds=seconds))  # noqa: PLR2004


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 domain`, `1,204 domains`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def address(path: str, **query: str | None) -> str:
    """A path with those filters that are set."""
    asked = urlencode({name: value for name, value in query.items() if value})
    return f"{path}?{asked}" if asked else path


def segment(text: str) -> str:
    """A part of a path."""
    return quote(text, safe="")


FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "kind": kind,
        "sentence": sentence,
        "moment": moment,
        "countdown": countdown,
        "upcoming": upcoming,
        "span": span,
        "count": count,
        "segment": segment,
    }
)


def _time(at: datetime | str) -> datetime:
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)


def _rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
