"""`lifecycle project`: make, list, show, delete later, cancel, hold."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lifecycle.cli import http, output, purges
from lifecycle.cli.output import Json

app = typer.Typer(help="Projects and their deletion.", no_args_is_help=True)

Ref = Annotated[str, typer.Argument(metavar="PROJECT", help="Id or slug.")]
Generation = Annotated[
    int | None, typer.Option("--if-generation", min=0, help="Act only if it is still this generation.")
]
Grace = Annotated[str | None, typer.Option(help="Time until then: 72h, 3d, P3D.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it is deleted, and show how far it is.")]
DueAt = Annotated[str | None, typer.Option(help="When instead: RFC 3339, such as 2026-11-24T09:00:00Z.")]


@app.command()
def create(
    slug: Annotated[str, typer.Argument(help="Its name in addresses, such as shop.")],
    name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    json: Json = False,
) -> None:
    """Make a project."""
    project = http.call("POST", "/v1/projects", body={"slug": slug, "name": name})
    if json:
        output.show_json(project)
    else:
        output.out.print(f"Project {project['slug']} is there: {project['id']}")


@app.command("list")
def list_all(json: Json = False) -> None:
    """List the projects of the workspace."""
    answer = http.call("GET", "/v1/projects", query={"limit": "1000"})
    items = answer["items"]
    while answer["next_cursor"]:
        answer = http.call("GET", "/v1/projects", query={"limit": "1000", "cursor": answer["next_cursor"]})
        items += answer["items"]
    if json:
        output.show_json({"items": items, "next_cursor": None})
        return
    rows = [(one["slug"], one["name"], one["state"], one["id"]) for one in items]
    output.table(("SLUG", "NAME", "STATE", "ID"), rows, empty="No projects yet: lifecycle project create SLUG")


@app.command()
def show(project: Ref, json: Json = False) -> None:
    """Show a project and its deletion."""
    found = http.call("GET", f"/v1/projects/{http.quoted(project)}")
    deletion = http.call("GET", f"/v1/projects/{found['id']}/deletion")
    if json:
        output.show_json({**found, "deletion": deletion})
        return
    output.lines(
        [
            ("project", f"{found['slug']} ({found['id']})"),
            ("name", found["name"]),
            ("state", found["state"]),
            ("protected", "yes" if found["protected"] else None),
            *_deletion_lines(deletion),
        ]
    )


@app.command()
def delete(
    project: Ref,
    reason: Annotated[str | None, typer.Option(help="Why; it goes into the receipt. Asked for when left out.")] = None,
    grace: Grace = None,
    due_at: DueAt = None,
    confirm: Annotated[str | None, typer.Option(help="The slug again, to be asked nothing.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Delete a project later: shows what would go, and asks for the slug."""
    path = f"/v1/projects/{http.quoted(project)}/deletion"
    plan = http.call("POST", path, body={"dry_run": True})
    if dry_run:
        output.show_json(plan) if json else output.out.print(f"Would remove {output.impact(plan['impact'])}.")
        return
    if reason is None:
        reason = typer.prompt("Reason", err=True)
    if confirm is None:
        output.err.print(f"This removes {output.impact(plan['impact'])} of [bold]{plan['slug']}[/bold].")
        output.err.print("Until it is due, a cancel leaves everything as it is.")
        confirm = typer.prompt("Type the slug to go on", err=True)
    body = {"reason": reason, "confirm": confirm, "grace": grace, "due_at": due_at}
    given = {name: value for name, value in body.items() if value is not None}
    deletion = http.call("POST", path, body=given)
    if json:
        output.show_json(_waited(deletion, wait=wait))
        return
    already = deletion["already_scheduled"]
    output.out.print("It was scheduled before, and stays as it was:" if already else "Scheduled:")
    output.lines(_deletion_lines(deletion))
    output.out.print(f"Undo with: lifecycle project cancel-delete {project}")
    _waited(deletion, wait=wait)


@app.command("cancel-delete")
def cancel_delete(project: Ref, if_generation: Generation = None, json: Json = False) -> None:
    """Cancel the deletion of a project."""
    path = f"/v1/projects/{http.quoted(project)}/deletion"
    cancelled = http.call("DELETE", path, if_match=if_generation)
    if json:
        output.show_json(cancelled)
    else:
        output.out.print(f"Cancelled: {project} stays (generation {cancelled['generation']}).")


@app.command()
def move(
    project: Ref,
    grace: Grace = None,
    due_at: DueAt = None,
    if_generation: Generation = None,
    json: Json = False,
) -> None:
    """Give the deletion of a project another due time."""
    body = {name: value for name, value in (("grace", grace), ("due_at", due_at)) if value is not None}
    path = f"/v1/projects/{http.quoted(project)}/deletion"
    _show(http.call("PATCH", path, body=body, if_match=if_generation), json=json)


@app.command()
def expedite(project: Ref, if_generation: Generation = None, wait: Wait = False, json: Json = False) -> None:
    """Delete now, as the second administrator."""
    path = f"/v1/projects/{http.quoted(project)}/deletion/expedite"
    _show(_waited(http.call("POST", path, if_match=if_generation), wait=wait), json=json)


@app.command()
def hold(
    project: Ref,
    name: Annotated[str, typer.Argument(help="Name of the hold, such as legal.")],
    reason: Annotated[str, typer.Option(prompt="Reason", help="Why it must not be deleted.")],
    json: Json = False,
) -> None:
    """Keep a project from being deleted until the hold is released."""
    path = f"/v1/projects/{http.quoted(project)}/holds/{http.quoted(name)}"
    _show(http.call("PUT", path, body={"reason": reason}), json=json)


@app.command()
def release(
    project: Ref,
    name: Annotated[str, typer.Argument(help="Name of the hold.")],
    json: Json = False,
) -> None:
    """Release a hold."""
    path = f"/v1/projects/{http.quoted(project)}/holds/{http.quoted(name)}"
    _show(http.call("DELETE", path), json=json)


@app.command()
def protect(
    project: Ref,
    off: Annotated[bool, typer.Option("--off", help="Lift the protection.")] = False,
    json: Json = False,
) -> None:
    """Refuse deletions of a project."""
    found = http.call("PATCH", f"/v1/projects/{http.quoted(project)}", body={"protected": not off})
    if json:
        output.show_json(found)
    else:
        output.out.print(f"{found['slug']} is {'not ' if off else ''}protected against deletion.")


def _waited(deletion: Mapping[str, Any], *, wait: bool) -> Mapping[str, Any]:
    """The deletion, carried out when that is to be waited for."""
    return purges.until_deleted(deletion, output.err) if wait else deletion


def _show(deletion: Mapping[str, Any], *, json: bool) -> None:
    if json:
        output.show_json(deletion)
    else:
        output.lines(_deletion_lines(deletion))


def _deletion_lines(deletion: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    purge = deletion.get("purge") or {}
    return [
        ("deletion", deletion["phase"]),
        ("due", output.due(deletion["due_at"]) if deletion["phase"] == "scheduled" else None),
        ("reason", deletion["reason"]),
        ("requested by", deletion["requested_by"]),
        ("expedited by", deletion["expedited_by"]),
        ("blocked by", ", ".join(deletion["blocked_by"])),
        ("removes", output.impact(deletion["impact"]) if deletion["impact"] else None),
        ("step", purge.get("step")),
        ("generation", str(deletion["generation"])),
    ]
