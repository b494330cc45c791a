"""`lifecycle authority` and `lifecycle vault rotate`: certificate authorities, and the key that wraps all secrets."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lifecycle.cli import http, output
from lifecycle.cli.output import Json

app = typer.Typer(help="Certificate authorities, and our accounts there.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="AUTHORITY", help="Its name, such as letsencrypt.")]

_LOOK_AGAIN_SECONDS = 0.5


@app.command("list")
def list_all(json: Json = False) -> None:
    """List them in order of preference."""
    answer = http.call("GET", "/v1/authorities")
    if json:
        output.show_json(answer)
        return
    rows = [
        (
            one["name"],
            "rehearsals" if one["order"] is None else str(one["order"]),
            _state(one),
            one["account"]["status"] if one["account"] else "none yet",
            one["directory_url"],
        )
        for one in answer["items"]
    ]
    empty = "No authorities: name some in the file of LIFECYCLE_CERTIFICATES_FILE."
    output.table(("AUTHORITY", "ORDER", "STATE", "ACCOUNT", "DIRECTORY"), rows, empty=empty)


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Show one: whether it works, our account, its profiles, and how full its rate limits are."""
    found = http.call("GET", f"/v1/authorities/{http.quoted(name)}")
    if json:
        output.show_json(found)
        return
    account = found["account"] or {}
    output.lines(
        [
            ("authority", found["name"]),
            ("directory", found["directory_url"]),
            ("state", _state(found)),
            ("last error", found["directory_error"] or found["breaker"]["last_error"]),
            ("asked again", output.due(found["breaker"]["until"])),
            ("rehearsals at", found["staging"]),
            ("profiles", ", ".join(sorted(found["profiles"]))),
            ("account", account.get("url") or "none yet"),
            ("status", account.get("status")),
            ("contact", ", ".join(account.get("contact", ()))),
            ("rollover", "under way; repeat it" if account.get("rolling_over") else account.get("rolled_over_at")),
        ]
    )
    rows = [_budget(one) for one in found["budgets"]]
    if rows:
        output.out.print()
        output.table(("LIMIT", "OF", "LEFT", "FULL AGAIN", "HELD BACK"), rows, empty="")


@app.command("roll-over")
def roll_over(name: Name, json: Json = False) -> None:
    """Give our account another key; a deactivated one begins anew."""
    changed = http.call("POST", f"/v1/authorities/{http.quoted(name)}/account/rollover")
    if json:
        output.show_json(changed)
    else:
        output.out.print(f"The account {changed['url']} has a new key; the former one opens it no more.")


@app.command()
def deactivate(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """End our account for ever. Certificates stay valid; nothing is ordered there any more."""
    if not yes:
        typer.confirm(f"End our account at {name} for ever?", abort=True, err=True)
    changed = http.call("POST", f"/v1/authorities/{http.quoted(name)}/account/deactivate")
    if json:
        output.show_json(changed)
    else:
        output.out.print(f"Deactivated: {changed['url']}")
        output.out.print(f"'lifecycle authority roll-over {changed['authority']}' begins a new account.")


def rotate(
    wait: Annotated[bool, typer.Option("--wait", help="Show how far it is, until it has ended.")] = False,
    json: Json = False,
) -> None:
    """Seal every stored secret anew under the first key of the key ring."""
    rotation = http.call("POST", "/v1/vault/rotation")
    shown = ""
    while wait and rotation["state"] == "running":
        if not json and (line := _progress(rotation)) != shown:
            shown = line
            output.err.print(line)
        time.sleep(_LOOK_AGAIN_SECONDS)
        rotation = http.call("GET", "/v1/vault/rotation")
    if json:
        output.show_json(rotation)
    elif rotation["state"] == "running":
        output.out.print(f"Everything is being sealed with {rotation['key']}; --wait shows how far it is.")
    elif rotation["state"] == "done":
        _tell_done(rotation)
    if rotation["state"] == "failed":
        raise http.CommandError(rotation["message"], "See docs/operating.md, 'The key ring'.", refusal=False)


def _tell_done(rotation: Mapping[str, Any]) -> None:
    output.out.print(f"{rotation['looked_at']} secrets are sealed; {rotation['rewrapped']} were sealed anew.")
    for name, count in sorted(rotation["needed"].items()):
        output.out.print(f"  {name}: {count}")
    for one in rotation["unreadable"]:
        output.out.print(f"No key of the ring opens {one}.")
    if rotation["removable"]:
        output.out.print(f"No stored secret needs {', '.join(rotation['removable'])} any more.")


def _progress(rotation: Mapping[str, Any]) -> str:
    of = f" of {rotation['expected']}" if rotation["expected"] else ""
    return f"pass {rotation['passes']}: {rotation['looked_at']}{of} looked at, {rotation['rewrapped']} sealed anew"


def _state(authority: Mapping[str, Any]) -> str:
    if authority["directory_error"]:
        return "does not answer"
    return {"closed": "works", "half_open": "is tried again", "open": "is left alone"}[authority["breaker"]["state"]]


def _budget(one: Mapping[str, Any]) -> tuple[str, ...]:
    left = "" if one["capacity"] is None else f"{one['left']} of {one['capacity']}"
    return (one["limit"], one["subject"], left, output.due(one["full_at"]), output.due(one["blocked_until"]))
