"""`lifecycle receipt` and `lifecycle audit`: proof of what happened."""

import asyncio
import json as jsonlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.markup import escape

from lifecycle.cli import http, output
from lifecycle.cli.http import CommandError
from lifecycle.cli.output import Json

app = typer.Typer(help="Receipts of finished deletions.", no_args_is_help=True)


@app.command()
def show(
    project: Annotated[str, typer.Argument(help="Id or slug of the deleted project.")], json: Json = False
) -> None:
    """Print the receipt of a deleted project, as compact JWS."""
    tombstone = http.call("GET", f"/v1/tombstones/{http.quoted(project)}")
    output.show_json(tombstone) if json else typer.echo(tombstone["receipt"])


@app.command()
def verify(
    receipt: Annotated[str, typer.Argument(help="File with the receipt, or - for standard input.")] = "-",
    jwks: Annotated[str | None, typer.Option(help="File or URL of the keys; the API's else.")] = None,
    json: Json = False,
) -> None:
    """Check a receipt against the published keys and show what it states. Needs no API key with --jwks."""
    stated = _verified(sys.stdin.read() if receipt == "-" else _read(Path(receipt)), jwks)
    if json:
        output.show_json(stated)
        return
    output.out.print("[green]The receipt is genuine.[/green]")
    output.lines(
        [
            ("project", f"{stated['slug']} ({stated['project']})"),
            ("deleted", stated["deleted_at"]),
            ("requested by", stated["requested_by"]),
            ("reason", stated["reason"]),
            *((f"removed {line['subsystem']}", f"{line['count']}; {line['evidence']}") for line in stated["removed"]),
        ]
    )


def of(project: str) -> Mapping[str, Any]:
    """What the receipt of a deleted project states.

    Raises:
        CommandError: there is none, or it is not genuine.
    """
    return _verified(http.call("GET", f"/v1/tombstones/{http.quoted(project)}")["receipt"], None)


def audit(
    project: Annotated[str | None, typer.Option(help="Only of this project, by id or slug.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, such as deletion.scheduled, or deletion.*.")] = None,
    person: Annotated[str | None, typer.Option(help="Only what this person did; lifecycle for the service.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only what happened to this domain and its certificate.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from then on, such as 2026-11-21T09:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Only what was before then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most items.")] = 50,
    json: Json = False,
) -> None:
    """Read the audit log, newest first; times are UTC."""
    asked = {"project": project, "action": action, "person": person, "domain": domain, "since": since, "until": until}
    answer = http.call("GET", "/v1/audit", query={**asked, "limit": str(limit)})
    if json:
        output.show_json(answer)
        return
    if not answer["items"]:
        output.out.print("Nothing happened yet." if not any(asked.values()) else "Nothing like that happened.")
    for one in answer["items"]:
        named = {"project": one["project"], **one["detail"]}
        detail = "  ".join(f"{name}={value}" for name, value in named.items() if value and name != "cancel_url")
        at = one["at"][:19].replace("T", " ")
        output.out.print(f"{at}  [bold]{one['action']:<20}[/bold]  {escape(one['actor']):<20}  {escape(detail)}")
    if answer["next_cursor"]:
        output.err.print(f"There may be more than {limit}; see --limit, --since and --until.")


def _verified(text: str, jwks: str | None) -> dict[str, Any]:
    from lifecycle.errors import LifecycleError
    from lifecycle.receipts import signing

    try:
        return signing.verify(text, _keys(jwks))
    except LifecycleError as error:
        raise CommandError(
            error.message,
            error.hint,
            refusal=True,
            problem={"code": error.code.value, "detail": error.message},
        ) from error


def _keys(source: str | None) -> dict[str, Any]:
    address = source or f"{http.target().url.rstrip('/')}/.well-known/jwks.json"
    text = asyncio.run(_fetch(address)) if "://" in address else _read(Path(address))
    try:
        found: dict[str, Any] = jsonlib.loads(text)
    except ValueError as error:
        raise CommandError(
            f"{address} holds no JWK set.", "Give the API's /.well-known/jwks.json.", refusal=True
        ) from error
    return found


async def _fetch(url: str) -> str:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()
    except aiohttp.ClientError as error:
        raise CommandError(
            f"{url} cannot be reached.", "Give a saved copy of the keys with --jwks.", refusal=False
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"{path} cannot be read: {error}.", "Give a text file, or - for standard input.", refusal=True
        ) from error
