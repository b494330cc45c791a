"""`lifecycle actions`: what is pending, and what can be done about it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from lifecycle import clock
from lifecycle.cli import http, output, timelines
from lifecycle.cli.output import Json
from lifecycle.cli.projects import DueAt, Generation, Grace

app = typer.Typer(help="Everything that is going to happen.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ACTION", help="As the list shows it: project-deletion/shop.")]

_STANDBY, _RENEWAL = "standby-stop", "certificate-renewal"
_OPEN = ("pending", "blocked", "running")
_GOES_ON = {
    _STANDBY: " The deployment goes on running.",
    _RENEWAL: " The certificate stays until it expires, and nobody renews it.",
}


@app.command("list")
def list_all(
    state: Annotated[
        str | None,
        typer.Option(help="pending, blocked, running, done, cancelled, failed or all; open ones else."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most items.")] = 100,
    json: Json = False,
) -> None:
    """List actions, soonest first."""
    answer = http.call(
        "GET",
        "/v1/actions",
        query={"state": state, "kind": kind, "project": project, "limit": str(limit)},
    )
    if json:
        output.show_json(answer)
        return
    _show_timeline(answer["items"], is_all=not answer["next_cursor"])
    rows = [
        (
            output.in_how_long(one["due_at"]) if one["state"] in _OPEN else "",
            one["state"],
            _called(one),
            one["requested_by"],
            one["reason"] if one["kind"] != _STANDBY else f"{one['label']}: {one['reason']}",
        )
        for one in answer["items"]
    ]
    output.table(("DUE IN", "STATE", "ACTION", "BY", "REASON"), rows, empty="Nothing is pending.")
    if answer["next_cursor"]:
        output.err.print(f"There are more than {limit}; see --limit.")


@app.command()
def show(action: Id, json: Json = False) -> None:
    """Show one action."""
    found = http.call("GET", _path(action))
    if json:
        output.show_json(found)
        return
    output.lines(
        [
            ("action", found["id"]),
            ("called", found["label"]),
            ("state", found["state"]),
            ("due", output.due(found["due_at"])),
            ("reason", found["reason"]),
            ("requested by", found["requested_by"]),
            ("generation", str(found["generation"])),
        ]
    )


@app.command()
def cancel(action: Id, if_generation: Generation = None, json: Json = False) -> None:
    """Cancel an action."""
    cancelled = http.call("DELETE", _path(action), if_match=if_generation)
    if json:
        output.show_json(cancelled)
    else:
        goes_on = _GOES_ON.get(action.partition("/")[0], "")
        output.out.print(f"Cancelled: {action} (generation {cancelled['generation']}).{goes_on}")


@app.command()
def move(
    action: Id,
    grace: Grace = None,
    due_at: DueAt = None,
    if_generation: Generation = None,
    json: Json = False,
) -> None:
    """Give an action another due time."""
    body = {name: value for name, value in (("grace", grace), ("due_at", due_at)) if value is not None}
    moved = http.call("PATCH", _path(action), body=body, if_match=if_generation)
    if json:
        output.show_json(moved)
    else:
        output.out.print(f"Moved: {action} is due {output.due(_due_at(moved))}.")


@app.command()
def run(action: Id, if_generation: Generation = None, json: Json = False) -> None:
    """Bring an action forward. A project deletion needs a second administrator for it; the others begin at once."""
    moved = http.call("POST", f"{_path(action)}/run", if_match=if_generation)
    if json:
        output.show_json(moved)
    elif action.startswith(f"{_STANDBY}/"):
        output.out.print(f"Brought forward: {action} ends now.")
    elif action.startswith(f"{_RENEWAL}/"):
        output.out.print(f"Brought forward: {action} begins now; see: lifecycle cert show {moved['domain']}")
    else:
        output.out.print(f"Brought forward: {action} is due {output.due(_due_at(moved))}.")


def _show_timeline(actions: Sequence[Mapping[str, Any]], *, is_all: bool) -> None:
    """Before the list, on a terminal: when how much is due, as far as it is listed."""
    if not output.out.is_terminal:
        return
    moments = [at for one in actions if one["state"] in _OPEN and (at := output.moment(one["due_at"]))]
    drawn = timelines.picture(moments, clock.now(), width=output.out.width)
    if drawn is not None:
        bars, scale = drawn
        of = "" if is_all else f"\n[dim]of the first {len(actions)}; more are due after them[/dim]"
        output.out.print(f"[cyan]{bars}[/cyan]\n[dim]{scale}[/dim]{of}\n")


def _called(action: Mapping[str, Any]) -> str:
    """What an action can be named by: people know projects by their slug, and deployments by their id."""
    return f"{action['kind']}/{action['key' if action['kind'] == _STANDBY else 'label']}"


def _due_at(moved: Mapping[str, Any]) -> str | None:
    """A certificate calls it by what is due."""
    due_at: str | None = moved["next_renewal_at"] if "next_renewal_at" in moved else moved["due_at"]
    return due_at


def _path(action: str) -> str:
    kind, _, key = action.partition("/")
    return f"/v1/actions/{http.quoted(kind)}/{http.quoted(key)}"
