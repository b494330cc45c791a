"""`lifecycle domain`: the host names of a project."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from lifecycle.cli import http, output, switches
from lifecycle.cli.output import Json
from lifecycle.cli.projects import Ref
from lifecycle.cli.switches import Environment

app = typer.Typer(help="Host names of a project.", no_args_is_help=True)

Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="Such as www.example.com.")]
Answer = Mapping[str, Any]

_SERVED = ("verified", "dangling")


@app.command()
def add(
    project: Ref,
    domain: Domain,
    environment: Annotated[Environment, typer.Option(help="Whose live deployment it shows.")] = "production",
    json: Json = False,
) -> None:
    """Give a project a domain of your own, and show the DNS records to set."""
    body = {"domain": domain, "environment": environment}
    added = http.call("POST", f"/v1/projects/{http.quoted(project)}/domains", body=body)
    if json:
        output.show_json(added)
        return
    if added["status"] in _SERVED:
        shown = added["deployment"] or "nothing yet: nothing is live there"
        output.out.print(
            f"Added: {added['domain']} follows {added['environment']} of {escape(project)}, and shows {shown}."
        )
        if not added["records"]:
            output.out.print("Let its DNS record lead to the gateway.")
        return
    output.out.print(
        f"Added: {added['domain']} follows {added['environment']} of {escape(project)} once it is verified."
    )
    output.out.print(f"{_advice(added)}\n")
    _records(added)
    output.out.print(f"\nThen look again with: lifecycle domain verify {escape(project)} {added['domain']}")


@app.command("list")
def list_all(project: Ref, json: Json = False) -> None:
    """List every host name of a project, its generated ones too."""
    if json:
        output.show_json(http.call("GET", f"/v1/projects/{http.quoted(project)}/domains"))
        return
    rows = [
        (http.address(one["domain"]), one["kind"], one["environment"], one["status"], one["deployment"] or "")
        for one in switches.domains(project)
    ]
    empty = f"No domains yet; the first deployment brings some: lifecycle deploy {project}"
    output.table(("DOMAIN", "FOLLOWS", "ENVIRONMENT", "STATUS", "SHOWS"), rows, empty=empty)


@app.command()
def show(project: Ref, domain: Domain, json: Json = False) -> None:
    """Show the DNS records of a domain: those to set, and what was found."""
    found = http.call("GET", _path(project, domain))
    if json:
        output.show_json(found)
    else:
        _show(found)


@app.command()
def verify(project: Ref, domain: Domain, json: Json = False) -> None:
    """Look at the DNS records of a domain now, and show what was found.

    Exits with 1 as long as the domain is not verified.
    """
    found = http.call("POST", f"{_path(project, domain)}/verify")
    if json:
        output.show_json(found)
    else:
        _show(found)
    if found["status"] not in _SERVED:
        raise typer.Exit(1)


@app.command()
def remove(project: Ref, domain: Domain, json: Json = False) -> None:
    """Take a domain away from a project that was added to it."""
    http.call("DELETE", _path(project, domain))
    if json:
        output.show_json({"project": project, "domain": domain, "removed": True})
    else:
        output.out.print(f"Removed: {escape(domain)} leads nowhere now.")


def _path(project: str, domain: str) -> str:
    return f"/v1/projects/{http.quoted(project)}/domains/{http.quoted(domain)}"


def _show(found: Answer) -> None:
    output.lines(
        (
            ("domain", found["domain"]),
            ("status", found["status"]),
            ("reason", found["reason"]),
            ("follows", found["environment"]),
            ("shows", found["deployment"]),
            ("checked", f"{output.age(found['checked_at'])} ago" if found["checked_at"] else None),
            ("next check", output.due(found["next_check_at"])),
        )
    )
    if found["records"]:
        output.out.print("")
        _records(found)


def _records(found: Answer) -> None:
    rows = [(one["type"], one["name"], one["value"], _state(one), one["found"]) for one in found["records"]]
    output.table(("TYPE", "NAME", "VALUE", "STATE", "FOUND"), rows, empty="")


def _state(record: Answer) -> str:
    return str(record["state"]) if record["required"] or record["state"] == "ok" else f"{record['state']} (optional)"


def _advice(added: Answer) -> str:
    if not any(one["type"] == "CNAME" for one in added["records"]):
        return "Set these DNS records; the TXT record proves that the domain is yours, the others lead visitors here:"
    if any(one["purpose"] == "ownership" and one["required"] for one in added["records"]):
        return "Another project has this domain or asks for it, so the TXT record is needed; set these DNS records:"
    return "Set these DNS records; the TXT record is optional, and lets it be verified before visitors are led here:"
