"""Shows a rollout while it goes on: a table that changes on a terminal, a line for each news elsewhere."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from lifecycle import clock
from lifecycle.cli import http, output
from lifecycle.cli.http import CommandError
from lifecycle.deploy.model import TERMINAL, Status

Deployment = Mapping[str, Any]

# An API that restarts is back by then; the rollout goes on meanwhile.
_MARKS = {"ok": "green", "...": "yellow", "bad": "red"}
_NEXT = {
    Status.FAILED: "'lifecycle deployment show {id}' has the steps. Mend it, and deploy again.",
    Status.CANCELLED: "What was live still is. Deploy again when you want it.",
    Status.SUPERSEDED: "A newer deployment of the same branch takes its place.",
    Status.STOPPED: "It was ready, and stopped since. Wake it with 'lifecycle deployment wake {id}'.",
}


def until_ready(deployment: Deployment, console: Console) -> Deployment:
    """Show the steps of a rollout until it is over.

    Raises:
        CommandError: it ended without being ready, or the API cannot be reached any more.
    """
    over = _shown_live(deployment, console) if console.is_terminal else _shown_in_lines(deployment, console)
    status = Status(over["status"])
    if status is not Status.READY:
        message = f"Deployment {over['id']} {_ended(status)}"
        message += f": {over['message'].rstrip()}" if over["message"] else "."
        raise CommandError(message, _NEXT[status].format(id=over["id"]), refusal=True, problem=over)
    return over


def steps(deployment: Deployment) -> Iterator[tuple[str, str, str, str]]:
    """Mark, name, duration and trouble of each step."""
    status = Status(deployment["status"])
    for step in deployment["steps"]:
        ended = output.moment(step["ended_at"])
        if status.is_terminal and status is not Status.READY and (step["error"] or ended is None):
            mark = "bad"
        else:
            mark = "ok" if ended else "..."
        started = output.moment(step["started_at"]) or clock.now()
        yield mark, step["name"], _duration(started, ended), output.first_line(step["error"])


def took(deployment: Deployment) -> str:
    """How long the rollout took, such as `1.2 s`."""
    ends = [output.moment(step["ended_at"]) for step in deployment["steps"]]
    created = output.moment(deployment["created_at"]) or clock.now()
    return _duration(created, max((end for end in ends if end), default=None))


def _shown_live(deployment: Deployment, console: Console) -> Deployment:
    with Live(console=console, auto_refresh=False) as live:
        for now in _states(deployment):
            live.update(_picture(now), refresh=True)
    return now


def _shown_in_lines(deployment: Deployment, console: Console) -> Deployment:
    told: set[object] = set()
    for now in _states(deployment):
        for news in _news(now):
            if news not in told:
                told.add(news)
                console.print(_line(*news))
    return now


def _news(deployment: Deployment) -> Iterator[tuple[str, str, str, str]]:
    """What is worth a line: that it waits, each step that ended, each trouble."""
    if deployment["status"] == Status.QUEUED:
        yield "...", "queued", "", "another rollout of the project goes first"
    for mark, name, duration, trouble in steps(deployment):
        if mark != "...":
            yield mark, name, duration, trouble
        elif trouble:
            yield mark, name, "", trouble


def _picture(deployment: Deployment) -> Table:
    table = Table.grid(padding=(0, 2))
    for mark, name, duration, trouble in steps(deployment):
        colour = _MARKS[mark]
        table.add_row(f"[{colour}]{mark}[/{colour}]", name, f"[dim]{duration}[/dim]", f"[dim]{escape(trouble)}[/dim]")
    if not Status(deployment["status"]).is_terminal:
        waits = " (another rollout of the project goes first)" if deployment["status"] == Status.QUEUED else ""
        table.add_row("", f"[bold]{deployment['status']}[/bold]{waits}")
    return table


def _line(mark: str, name: str, duration: str, trouble: str) -> str:
    colour = _MARKS[mark]
    return f"[{colour}]{mark:<3}[/{colour}]  {name:<16}  {duration:>7}  {escape(trouble)}".rstrip()


def _states(deployment: Deployment) -> Iterator[Deployment]:
    """The deployment as it is now, again and again; the last one is over."""
    path = f"/v1/deployments/{http.quoted(deployment['id'])}"
    return http.until(deployment, path, lambda now: Status(now["status"]) in TERMINAL)


def _ended(status: Status) -> str:
    return "failed" if status is Status.FAILED else f"was {status.value}"


def _duration(started: datetime, ended: datetime | None) -> str:
    seconds = ((ended or clock.now()) - started).total_seconds()
    return f"{max(seconds, 0):.1f} s"
