"""`lifecycle domain`: the host names of a project."""

from typing import Annotated

import typer

from lifecycle.cli import http, output, switches
from lifecycle.cli.output import Json
from lifecycle.cli.projects import Ref
from lifecycle.cli.switches import Environment

app = typer.Typer(help="Host names of a project.", no_args_is_help=True)

Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="Such as www.example.com.")]


@app.command()
def add(
    project: Ref,
    domain: Domain,
    environment: Annotated[Environment, typer.Option(help="Whose live deployment it shows.")] = "production",
    json: Json = False,
) -> None:
    """Give a project a domain of your own."""
    body = {"domain": domain, "environment": environment}
    added = http.call("POST", f"/v1/projects/{http.quoted(project)}/domains", body=body)
    if json:
        output.show_json(added)
        return
    shown = added["deployment"] or "nothing yet: nothing is live there"
    output.out.print(f"Added: {added['domain']} follows {added['environment']} of {project}, and shows {shown}.")
    output.out.print("Let its DNS record lead to the gateway.")


@app.command("list")
def list_all(project: Ref, json: Json = False) -> None:
    """List every host name of a project, its generated ones too."""
    if json:
        output.show_json(http.call("GET", f"/v1/projects/{http.quoted(project)}/domains"))
        return
    rows = [
        (http.address(one["domain"]), one["kind"], one["environment"], one["deployment"] or "")
        for one in switches.domains(project)
    ]
    empty = f"No domains yet; the first deployment brings some: lifecycle deploy {project}"
    output.table(("DOMAIN", "FOLLOWS", "ENVIRONMENT", "SHOWS"), rows, empty=empty)


@app.command()
def remove(project: Ref, domain: Domain) -> None:
    """Take a domain away from a project that was added to it."""
    http.call("DELETE", f"/v1/projects/{http.quoted(project)}/domains/{http.quoted(domain)}")
    output.out.print(f"Removed: {domain} leads nowhere now.")
