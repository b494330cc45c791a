"""`lifecycle rollback` and `lifecycle promote`: make another deployment live."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from lifecycle.cli import http, output
from lifecycle.cli.http import CommandError
from lifecycle.cli.output import Json
from lifecycle.cli.projects import Ref

Deployment = Mapping[str, Any]

# Spelled out, because `deploy.model` brings half of the worker along, and each command would wait for that.
Environment = Literal["production", "preview"]
DeploymentId = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Id of the deployment: dep_…")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until its domains have moved.")]

_LOOK_EVERY_SECONDS = 0.1
_SWITCHED_WITHIN_SECONDS = 30
# A worker gives a deployment that it wakes two minutes to be healthy.
_WOKEN_WITHIN_SECONDS = 150
KINDS = ("live", "custom", "environment", "branch", "commit")
KINDS_THAT_FOLLOW_LIVE = KINDS[:3]


def rollback(
    project: Ref,
    deployment: Annotated[
        str | None, typer.Argument(metavar="DEPLOYMENT", help="Id; left out, the one before the live one.")
    ] = None,
    environment: Annotated[Environment, typer.Option(help="Where, when no deployment is given.")] = "production",
    yes: Yes = False,
    wait: Wait = True,
    json: Json = False,
) -> None:
    """Make an earlier deployment live again, and keep it live until one is promoted.

    A stopped one is woken, and takes over when it is healthy.
    """
    found = http.call("GET", f"/v1/projects/{http.quoted(project)}")
    target = _of_project(found, deployment) if deployment else _earlier(found, environment)
    where = target["environment"]
    moving = follow_live(project, where)
    _confirm(f"This rolls {where} of {found['slug']} back to {_called(target)}, and moves:", moving, yes=yes)
    answer = http.call("POST", f"/v1/deployments/{target['id']}/rollback")
    if not answer["live"] and not json:
        output.err.print(f"It is stopped, and woken now; it takes over when it is healthy. Until then {where} stays.")
    after = _until_serving(answer, moving) if wait else answer
    if json:
        output.show_json(after)
    elif after["live"]:
        output.out.print(f"Rolled back: {after['id']} is live in {where}, and stays so until one is promoted.")
        list_domains(project, after)


def promote(deployment: DeploymentId, yes: Yes = False, wait: Wait = True, json: Json = False) -> None:
    """Make a ready deployment live; after a rollback this lets newer ones go live again."""
    target = http.call("GET", f"/v1/deployments/{http.quoted(deployment)}")
    where = target["environment"]
    moving = follow_live(target["project"], where)
    moves = "lifts the pin of" if target["live"] else "moves"
    _confirm(f"This makes {_called(target)} live in {where}, and {moves}:", moving, yes=yes)
    answer = http.call("POST", f"/v1/deployments/{target['id']}/promote")
    after = _until_serving(answer, moving) if wait else answer
    if json:
        output.show_json(after)
        return
    lifted = " The pin is lifted." if target["pinned"] else ""
    output.out.print(f"Promoted: {after['id']} is live in {where}.{lifted}")
    list_domains(target["project"], after)


def all_deployments(project: str) -> Iterator[Deployment]:
    """The deployments of a project, newest first, asked for page by page."""
    path, cursor = f"/v1/projects/{http.quoted(project)}/deployments", None
    while True:
        page = http.call("GET", path, query={"cursor": cursor})
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def follow_live(project: str, environment: str) -> Sequence[str]:
    """The host names that show what is live in an environment."""
    return [
        domain["domain"]
        for domain in domains(project)
        if domain["environment"] == environment and domain["kind"] in KINDS_THAT_FOLLOW_LIVE
    ]


def domains(project: str) -> Sequence[Mapping[str, Any]]:
    """The domains of a project, those that people know first."""
    found = http.call("GET", f"/v1/projects/{http.quoted(project)}/domains")["items"]
    return sorted(found, key=lambda domain: (KINDS.index(domain["kind"]), domain["domain"]))


def list_domains(project: str, deployment: Deployment) -> None:
    """Print where a deployment serves."""
    for domain in domains(project):
        if domain["deployment"] == deployment["id"]:
            output.out.print(f"  {http.address(domain['domain'])}")


def _of_project(project: Mapping[str, Any], deployment: str) -> Deployment:
    found: Deployment = http.call("GET", f"/v1/deployments/{http.quoted(deployment)}")
    if found["project"] != project["id"]:
        message = f"Deployment {deployment} is not one of {project['slug']}."
        raise CommandError(message, f"'lifecycle deployments {project['slug']}' lists them.", refusal=True)
    return found


def _earlier(project: Mapping[str, Any], environment: Environment) -> Deployment:
    """The newest deployment before the live one that can serve."""
    is_live_seen = False
    for one in all_deployments(project["id"]):
        if one["environment"] != environment:
            continue
        if is_live_seen and one["status"] in ("ready", "stopped"):
            return one
        is_live_seen = is_live_seen or one["live"]
    if not is_live_seen:
        message = f"Nothing is live in {environment} of {project['slug']}, so there is nothing to roll back."
    else:
        message = f"There is no earlier deployment in {environment} of {project['slug']} to roll back to."
    raise CommandError(message, f"'lifecycle deployments {project['slug']}' lists all.", refusal=True)


def _until_serving(deployment: Deployment, hostnames: Sequence[str]) -> Deployment:
    """Wait until a deployment serves these host names, and return it as it is then.

    Args:
        deployment: as the answer to the rollback or promote said.
        hostnames: those that are to follow.

    Raises:
        CommandError: it does not serve them in time, could not be woken, or something else was made live meanwhile.
    """
    identifier, before, was_live = deployment["id"], deployment["message"], deployment["live"]
    latest = time.monotonic() + (_SWITCHED_WITHIN_SECONDS if was_live else _WOKEN_WITHIN_SECONDS)
    while not (deployment["live"] and set(hostnames) <= set(deployment["domains"])):
        if was_live and not deployment["live"]:
            hint = "'lifecycle audit' shows what, and by whom."
            raise CommandError("Something else was made live meanwhile.", hint, refusal=True, problem=deployment)
        if deployment["status"] == "stopped" and deployment["message"] not in ("", before):
            message = f"Deployment {identifier} could not be woken: {deployment['message']}"
            hint = "What was live still is. Roll back to another one, or deploy."
            raise CommandError(message, hint, refusal=True, problem=deployment)
        if time.monotonic() > latest:
            message = f"Deployment {identifier} does not serve its domains yet; it goes on being tried."
            raise CommandError(message, "'lifecycle doctor' says what is not well.", refusal=False, problem=deployment)
        time.sleep(_LOOK_EVERY_SECONDS)
        deployment = http.call("GET", f"/v1/deployments/{http.quoted(identifier)}")
        was_live = was_live or deployment["live"]
    return deployment


def _confirm(said: str, hostnames: Sequence[str], *, yes: bool) -> None:
    """Say what is going to happen to which host names, and ask, when somebody is there to answer."""
    if yes or not sys.stdin.isatty():
        return
    output.err.print(said)
    for hostname in hostnames:
        output.err.print(f"  {hostname}")
    if not typer.confirm("Go on?", err=True):
        raise CommandError("Not confirmed; nothing was changed.", "Answer y, or give --yes.", refusal=True)


def _called(deployment: Deployment) -> str:
    branch = f"{deployment['branch']}, " if deployment["branch"] else ""
    return escape(f"{deployment['id']} ({branch}{output.age(deployment['created_at'])} old)")
