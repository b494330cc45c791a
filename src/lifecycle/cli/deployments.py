"""`lifecycle deploy`, `lifecycle deployments` and `lifecycle deployment`: roll out, list, show, stop, wake."""

from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.markup import escape

from lifecycle.cli import http, output, sources
from lifecycle.cli.http import CommandError
from lifecycle.cli.output import Json
from lifecycle.cli.projects import Ref
from lifecycle.cli.switches import Deployment, DeploymentId, Environment, domains, list_domains

app = typer.Typer(help="One deployment: show, logs, cancel, stop, wake.", no_args_is_help=True)

Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- COMMAND", help="What to run; it is told in PORT where to listen."),
]
Source = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Folder or tarball with a Dockerfile at its top, to build an image from."),
]
Directory = Annotated[
    Path | None,
    typer.Option(help="Working directory of the command, on the machine that runs it; a relative one means here."),
]
Watch = Annotated[
    float, typer.Option(metavar="SECONDS", help="Roll back by itself when it gets ill so soon after it is live.")
]
EnvFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Lines of NAME=VALUE; # begins one of comment.")]

_INTERRUPTED = 130
_NOTHING_TO_DEPLOY = CommandError(
    "Say what to deploy.",
    "Give --image REF, --source FOLDER, or a command after --, as in: lifecycle deploy shop -- python3 app.py",
    refusal=True,
)


def deploy(  # noqa: PLR0913, PLR0917  one for each option
    project: Ref,
    command: Command = None,
    environment: Annotated[Environment, typer.Option(help="Where it serves.")] = "production",
    image: Annotated[str | None, typer.Option(metavar="REF", help="Image to run.")] = None,
    source: Source = None,
    directory: Directory = None,
    branch: Annotated[str | None, typer.Option(help="Its newest deployment gets a domain of its own.")] = None,
    commit: Annotated[str | None, typer.Option(metavar="SHA", help="Gets a domain that never moves.")] = None,
    port: Annotated[int | None, typer.Option(help="Where the instances listen.")] = None,
    replicas: Annotated[int, typer.Option(help="Instances in each region.")] = 1,
    region: Annotated[list[str] | None, typer.Option(help="Where to run; everywhere it can else. Repeatable.")] = None,
    health_path: Annotated[str, typer.Option(help="Asked with GET; below 500 means healthy.")] = "/",
    watch: Watch = 0,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Sealed variable. Repeatable.")] = None,
    env_file: EnvFile = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show its steps until it is ready.")] = True,
    json: Json = False,
) -> None:
    """Roll out an image, a command or a source, and make it live when it is healthy.

    Exit code 0 when it is ready, 2 when it failed or was cancelled. Ctrl-C leaves the rollout running.
    """
    if not (image or source or command):
        raise _NOTHING_TO_DEPLOY
    asked: dict[str, object] = {
        "environment": environment,
        "image": image,
        "command": command or None,
        "source": source is not None,
        "directory": None if directory is None else str(directory.absolute()),
        "branch": branch,
        "commit_sha": commit,
        "port": port,
        "replicas": replicas,
        "regions": region or None,
        "health_path": health_path,
        "watch_seconds": watch,
        "env": sources.variables(env_file, env or []),
    }
    body = {name: value for name, value in asked.items() if value is not None}
    if source is None:
        deployment = _ask(project, body)
    else:
        with sources.tarball(source) as content:
            deployment = _upload(_ask(project, body), content)
    _show_rollout(project, deployment, wait=wait, json=json)


def list_all(
    project: Ref,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most items.")] = 20,
    json: Json = False,
) -> None:
    """List the deployments of a project, newest first."""
    answer = http.call("GET", f"/v1/projects/{http.quoted(project)}/deployments", query={"limit": str(limit)})
    if json:
        output.show_json(answer)
        return
    rows = [
        (
            one["id"],
            one["environment"],
            one["status"],
            _live(one),
            one["branch"] or "",
            output.age(one["created_at"]),
            output.first_line(one["message"]),
        )
        for one in answer["items"]
    ]
    columns = ("ID", "ENVIRONMENT", "STATUS", "LIVE", "BRANCH", "AGE", "MESSAGE")
    output.table(columns, rows, empty=f"No deployments yet: lifecycle deploy {project}")
    if answer["next_cursor"]:
        output.err.print(f"There are more than {limit}; see --limit.")


@app.command()
def show(deployment: DeploymentId, json: Json = False) -> None:
    """Show a deployment: its steps, where it serves, and what can be done with it."""
    from lifecycle.cli import rollouts

    found = http.call("GET", f"/v1/deployments/{http.quoted(deployment)}")
    if json:
        output.show_json(found)
        return
    serving = [http.address(one["domain"]) for one in domains(found["project"]) if one["deployment"] == found["id"]]
    output.lines(
        [
            ("deployment", found["id"]),
            ("environment", found["environment"]),
            ("status", found["status"]),
            ("live", _live(found)),
            ("message", found["message"].rstrip()),
            ("branch", found["branch"]),
            ("commit", found["commit_sha"]),
            ("image", found["image"]),
            ("command", " ".join(found["command"])),
            ("by", found["created_by"]),
            ("age", output.age(found["created_at"])),
            *(("domain", one) for one in serving),
            *(("instance", f"{one['id']}  {one['address'] or 'not placed yet'}") for one in found["instances"]),
            ("can be", ", ".join(_possible(found))),
        ]
    )
    if found["steps"]:
        output.table(("", "STEP", "TOOK", ""), list(rollouts.steps(found)), empty="")


@app.command()
def cancel(deployment: DeploymentId, json: Json = False) -> None:
    """Give a rollout up; domains that moved already go back."""
    _act(deployment, "cancel", "Cancelled: {id}; what was live still is.", json=json)


@app.command()
def stop(deployment: DeploymentId, json: Json = False) -> None:
    """Stop a deployment that is not live."""
    _act(deployment, "stop", "Stopped: {id}. Wake it with: lifecycle deployment wake {id}", json=json)


@app.command()
def wake(deployment: DeploymentId, json: Json = False) -> None:
    """Start a stopped deployment again, without making it live."""
    _act(deployment, "wake", "Waking {id}; see: lifecycle deployment show {id}", json=json)


@app.command()
def logs(
    deployment: DeploymentId,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=10_000, help="Last lines of each instance.")] = 100,
) -> None:
    """Print what its build and its instances printed last."""
    path = f"/v1/deployments/{http.quoted(deployment)}/logs"
    typer.echo(http.text(path, query={"lines": str(lines)}).rstrip("\n"))


def _ask(project: str, body: dict[str, object]) -> Deployment:
    deployment: Deployment = http.call("POST", f"/v1/projects/{http.quoted(project)}/deployments", body=body)
    return deployment


def _upload(deployment: Deployment, content: IO[bytes]) -> Deployment:
    """Send the source; a rollout whose source does not come is cancelled, so that the next one need not wait for it."""
    try:
        uploaded: Deployment = http.upload(f"/v1/deployments/{deployment['id']}/source", content)
    except BaseException:
        output.err.print(f"The source was not uploaded, so {deployment['id']} is cancelled.")
        http.call("POST", f"/v1/deployments/{deployment['id']}/cancel")
        raise
    return uploaded


def _show_rollout(project: str, deployment: Deployment, *, wait: bool, json: bool) -> None:
    try:
        from lifecycle.cli import rollouts

        console = output.err if json else output.out
        console.print(f"Deploying {deployment['id']} to {deployment['environment']} of {escape(project)}")
        if wait:
            deployment = rollouts.until_ready(deployment, console)
    except KeyboardInterrupt:
        cancel = f"lifecycle deployment cancel {deployment['id']}"
        output.err.print(f"The rollout goes on. Cancel it with: {cancel}")
        raise typer.Exit(_INTERRUPTED) from None
    if json:
        output.show_json(deployment)
    elif not wait:
        output.out.print(f"See how it goes: lifecycle deployment show {deployment['id']}")
    elif deployment["live"]:
        output.out.print(f"Ready after {rollouts.took(deployment)}, and live:")
        list_domains(project, deployment)
    else:
        reason = next((step["error"] for step in deployment["steps"] if step["error"]), "")
        output.out.print(f"Ready after {rollouts.took(deployment)}, but not live. {escape(reason)}".rstrip())
        list_domains(project, deployment)
        output.out.print(f"Make it live with: lifecycle promote {deployment['id']}")


def _act(deployment: str, verb: str, said: str, *, json: bool) -> None:
    done: dict[str, Any] = http.call("POST", f"/v1/deployments/{http.quoted(deployment)}/{verb}")
    output.show_json(done) if json else output.out.print(said.format(id=done["id"]))


def _live(deployment: Deployment) -> str:
    if not deployment["live"]:
        return ""
    return "live, pinned" if deployment["pinned"] else "live"


def _possible(deployment: Deployment) -> list[str]:
    words = {
        "cancel": "cancelled",
        "promote": "promoted",
        "rollback": "rolled back to",
        "stop": "stopped",
        "wake": "woken",
    }
    return [words.get(one["action"], one["action"]) for one in deployment["available_actions"] if one["allowed"]]
