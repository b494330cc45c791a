"""`lifecycle`: puts the commands together and turns errors into exit codes.

Exit codes: 0 done, 1 a fault (try again, or mend something), 2 a refusal (another request is needed).
"""

import sys

import typer
from pydantic import ValidationError
from rich.markup import escape

from lifecycle import mistakes
from lifecycle.cli import (
    actions,
    authorities,
    calendar,
    certificates,
    deployments,
    domains,
    keys,
    notifications,
    output,
    projects,
    receipts,
    servers,
    switches,
)
from lifecycle.cli.http import CommandError

app = typer.Typer(
    name="lifecycle",
    help="Things happen later, and exactly as agreed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("dev")(servers.dev)
app.command("api")(servers.api)
app.command("worker")(servers.worker)
app.command("gateway")(servers.gateway)
app.command("migrate")(servers.migrate_database)
app.command("register")(servers.register)
app.command("doctor")(servers.doctor)
app.command("audit")(receipts.audit)
app.command("deploy")(deployments.deploy)
app.command("rollback")(switches.rollback)
app.command("promote")(switches.promote)
app.command("deployments")(deployments.list_all)
app.add_typer(projects.app, name="project")
app.add_typer(deployments.app, name="deployment")
app.add_typer(domains.app, name="domain")
app.add_typer(certificates.app, name="cert")
app.add_typer(actions.app, name="actions")
app.add_typer(calendar.app, name="calendar")
app.add_typer(notifications.webhook_app, name="webhook")
app.add_typer(notifications.delivery_app, name="delivery")
app.add_typer(notifications.recipient_app, name="recipient")
app.add_typer(receipts.app, name="receipt")
app.add_typer(keys.app, name="key")
app.add_typer(keys.vault_app, name="vault")
app.add_typer(authorities.app, name="authority")
keys.vault_app.command("rotate")(authorities.rotate)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except CommandError as error:
        if "--json" in _own_arguments():
            output.show_json(error.problem)
        _complain(str(error), error.hint)
        sys.exit(2 if error.refusal else 1)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        _complain(
            f"The setting LIFECYCLE_{name.upper()} is not valid: {mistakes.detail(first)}.", "See docs/settings.md."
        )
        sys.exit(2)


def _own_arguments() -> list[str]:
    """The arguments without those behind `--`, which belong to the command that is deployed."""
    arguments = sys.argv[1:]
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _complain(message: str, hint: str) -> None:
    output.err.print(f"[red]error:[/red] {escape(message)}")
    output.err.print(f"hint: {escape(hint)}")
