"""`lifecycle key` and `lifecycle vault`: API keys, and the keys that seal secrets."""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lifecycle.cli import http, output
from lifecycle.cli.output import Json
from lifecycle.models import Role

if TYPE_CHECKING:
    from lifecycle.access.keys import NewKey

app = typer.Typer(help="API keys of the workspace.", no_args_is_help=True)
vault_app = typer.Typer(help="Keys that seal secrets at rest.", no_args_is_help=True)

_LONGEST_NAME = 200
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Person = Annotated[str, typer.Argument(help="Whose key it is, such as ada@example.com.")]


@app.command()
def create(
    person: Person,
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.VIEWER,
    json: Json = False,
) -> None:
    """Make a key; it is shown this once."""
    made = http.call("POST", "/v1/api-keys", body={"person": person, "role": role.value})
    if json:
        output.show_json(made)
    else:
        output.out.print(f"Key {made['id']} of {made['person']} ({made['role']}), shown this once:")
        typer.echo(made["token"])


@app.command("list")
def list_all(json: Json = False) -> None:
    """List the keys, without their secrets."""
    answer = http.call("GET", "/v1/api-keys")
    if json:
        output.show_json(answer)
        return
    rows = [
        (
            one["id"],
            one["person"],
            one["role"],
            one["created_at"][:10],
            "revoked" if one["revoked_at"] else "valid",
        )
        for one in answer["items"]
    ]
    output.table(("ID", "PERSON", "ROLE", "MADE", "STATE"), rows, empty="No keys.")


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="Id of the key: key_…")], json: Json = False) -> None:
    """End a key."""
    http.call("DELETE", f"/v1/api-keys/{http.quoted(key)}")
    if json:
        output.show_json({"id": key, "revoked": True})
    else:
        output.out.print(f"Revoked: {escape(key)}")


@app.command()
def bootstrap(
    person: Person,
    workspace: Annotated[str, typer.Option(help="Name of the workspace; made when it is new.")] = "main",
    json: Json = False,
) -> None:
    """Make the first administrator key, straight in the database. Needs LIFECYCLE_DATABASE_URL."""
    from lifecycle.db import DatabaseDownError

    if not 1 <= len(person) <= _LONGEST_NAME or not 1 <= len(workspace) <= _LONGEST_NAME:
        raise http.CommandError(
            f"Person and workspace have 1 to {_LONGEST_NAME} characters.",
            "Use an address or a short name.",
            refusal=True,
        )
    try:
        made = asyncio.run(_bootstrap(person, workspace))
    except DatabaseDownError as error:
        raise http.CommandError(
            f"The database did not answer: {error}.",
            "Check LIFECYCLE_DATABASE_URL, and run 'lifecycle migrate' first.",
            refusal=False,
        ) from error
    if json:
        output.show_json({"id": made.id, "token": made.token, "person": person, "role": "administrator"})
    else:
        output.err.print(f"Administrator key of {person} for workspace {workspace}, shown this once:")
        typer.echo(made.token)


@vault_app.command("new-key")
def new_key(
    name: Annotated[str, typer.Argument(help="Name of the key, such as 2026-11.")],
    file: Annotated[Path | None, typer.Option(help="Write it there, unless the file exists.")] = None,
) -> None:
    """Make a key-encryption key: a line for LIFECYCLE_KEY_ENCRYPTION_KEYS."""
    from lifecycle import secret_files
    from lifecycle.vault import new_ring_line

    if not _KEY_NAME.fullmatch(name):
        raise http.CommandError(
            f"'{name}' cannot be the name of a key: a line of the key ring is its name, a colon, and the key.",
            "Give at most 64 letters, digits, dots, hyphens and underscores, such as 2026-11.",
            refusal=True,
        )
    if file is None:
        typer.echo(new_ring_line(name))
    else:
        secret_files.ensure(file, lambda: new_ring_line(name))
        output.err.print(f"The key ring is in {file}. Without it no sealed secret can be opened: back it up.")


@vault_app.command("new-identity")
def new_identity(
    file: Annotated[Path, typer.Option(help="Private key for the engine (PEM); kept when it exists.")],
) -> None:
    """Make the key with which the engine proves itself to workers, and print its public half."""
    from lifecycle import identity

    typer.echo(identity.ensure(file))


async def _bootstrap(person: str, workspace: str) -> "NewKey":
    from lifecycle import clock, ids, resources
    from lifecycle.access import keys, store
    from lifecycle.settings import Settings

    db = resources.database(Settings())
    try:
        workspace_id = await store.ensure_workspace(db, workspace_id=ids.new("ws"), name=workspace, now=clock.now())
        return await keys.create(db, workspace=workspace_id, person=person, role=Role.ADMINISTRATOR, by=None)
    finally:
        await db.close()
