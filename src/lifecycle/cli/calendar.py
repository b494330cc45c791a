"""`lifecycle calendar`: links under which a calendar program finds what is pending."""

from typing import Annotated

import typer
from rich.markup import escape

from lifecycle.cli import http, output
from lifecycle.cli.output import Json

app = typer.Typer(help="What is pending, in your calendar program.", no_args_is_help=True)


@app.command()
def create(json: Json = False) -> None:
    """Make an address to subscribe to; it is shown this once."""
    made = http.call("POST", "/v1/calendar-links")
    if json:
        output.show_json(made)
        return
    output.err.print(f"Link {made['id']}, shown this once. Subscribe to it, and do not import it:")
    typer.echo(made["url"])


@app.command("list")
def list_all(json: Json = False) -> None:
    """List the links without their secrets: your own, or those of everybody with an administrator's key."""
    answer = http.call("GET", "/v1/calendar-links")
    if json:
        output.show_json(answer)
        return
    rows = [
        (one["id"], one["person"], one["created_at"][:10], "revoked" if one["revoked_at"] else "valid")
        for one in answer["items"]
    ]
    output.table(("ID", "PERSON", "MADE", "STATE"), rows, empty="No links. Make one: lifecycle calendar create")


@app.command()
def revoke(link: Annotated[str, typer.Argument(help="Id of the link: cal_…")], json: Json = False) -> None:
    """End a link; the calendar program gets nothing more."""
    http.call("DELETE", f"/v1/calendar-links/{http.quoted(link)}")
    if json:
        output.show_json({"id": link, "revoked": True})
    else:
        output.out.print(f"Revoked: {escape(link)}")
