"""How answers are shown: a table or a few lines for people, JSON for machines."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from lifecycle import clock
from lifecycle.durations import humanize

Json = Annotated[bool, typer.Option("--json", help="Print the answer of the API as JSON.")]

_WIDEST = 10_000
_FAR = timedelta(days=2)

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def show_json(answer: object) -> None:
    """Print JSON, unstyled, so that other programs can read it."""
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print a table, or one line when there is nothing. Only the last column is folded to the terminal's width."""
    if not rows:
        out.print(empty)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        shown.add_column(column, no_wrap=True)  # ids and addresses stay in one piece, so that they can be copied
    shown.add_column(columns[-1], overflow="fold")
    for row in rows:
        shown.add_row(*(escape(cell) for cell in row))
    needed = Measurement.get(out, out.options.update(max_width=_WIDEST), shown)
    width = max(out.width, needed.minimum) if out.is_terminal else needed.maximum
    Console(highlight=False, width=width).print(shown, crop=False)


def lines(pairs: Sequence[tuple[str, str | None]]) -> None:
    """Print names and values below each other; those without a value are left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        out.print(f"[bold]{name.ljust(width)}[/bold]  {escape(value)}")


def moment(text: str | None) -> datetime | None:
    """A time of the API."""
    return datetime.fromisoformat(text) if text else None


def due(text: str | None) -> str:
    """A due time as `in 2d 23h (2026-11-24 09:00 UTC)`."""
    at = moment(text)
    if at is None:
        return ""
    rest = at - clock.now()
    when = f"in {humanize(rest)}" if rest.total_seconds() > 0 else f"{humanize(-rest)} ago"
    return f"{when} ({at:%Y-%m-%d %H:%M:%S} UTC)"


def in_how_long(text: str) -> str:
    """Only the `2d 23h` of a due time."""
    at = moment(text)
    rest = at - clock.now() if at else None
    if rest is None:
        return ""
    return humanize(rest) if rest.total_seconds() > 0 else f"-{humanize(-rest)}"


def in_days(text: str | None) -> str:
    """A time as `in 59 days`, or `in 5h 3m` when it is near; nothing for none."""
    at = moment(text)
    if at is None:
        return ""
    rest = at - clock.now()
    away = f"{abs(rest).days} days" if abs(rest) >= _FAR else humanize(abs(rest))
    return f"in {away}" if rest.total_seconds() > 0 else f"{away} ago"


def is_ahead(text: str) -> bool:
    """Whether a time of the API is still to come."""
    at = moment(text)
    return at is not None and at > clock.now()


def first_line(text: str) -> str:
    """The first line of a message; the rest is what some program printed."""
    return text.partition("\n")[0].removesuffix(" It printed:")


def age(text: str) -> str:
    """How long ago something was, such as `2d 23h`."""
    at = moment(text)
    return humanize(clock.now() - at) if at else ""


def impact(found: Mapping[str, Any]) -> str:
    """What would be removed, such as `2 environments, 1 domain`."""
    parts = [
        f"{count} {name if count != 1 else name.removesuffix('s')}"
        for name in ("environments", "deployments", "instances", "domains", "certificates", "rows")
        if (count := found.get(name, 0))
    ]
    return ", ".join(parts) or "nothing but the project itself"
