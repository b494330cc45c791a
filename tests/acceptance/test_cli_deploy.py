"""Deployments on the command line: what it prints, asks, and answers to a shell."""

import http.client
import json
import os
import pty
import signal
import subprocess
import tarfile
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lifecycle.dev import ports
from lifecycle.dev.servers import Own
from lifecycle.dev.stack import APEX, WORKSPACE, Stack
from lifecycle.models import Role
from tests.support.api import Api
from tests.support.inside import key_of
from tests.support.shell import LIFECYCLE, Shell
from tests.support.waiting import eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"


class Desk(NamedTuple):
    """Somebody with a project, a shell, and a browser."""

    stack: Stack
    shell: Shell
    api: Api
    project: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        return self.shell.run(*arguments)

    def well(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        return self.shell.well(*arguments)

    def deploy(self, version: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Deploy a version of the example."""
        example = ("--", "python3", "hello.py", version)
        return self.run("deploy", self.project, "--directory", str(EXAMPLE), *options, *example)

    def visit(self, hostname: str | None = None) -> str:
        """What a visitor gets from the gateway; of what is live in production unless another host is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.gateway.port, timeout=10)
        try:
            connection.request("GET", "/", headers={"Host": hostname or self.home})
            response = connection.getresponse()
            return f"{response.status} {response.read().decode().strip()}"
        finally:
            connection.close()

    @property
    def home(self) -> str:
        """The domain that shows what is live in production."""
        return f"{self.project}-{WORKSPACE}.{APEX}"

    async def deployments(self) -> list[dict[str, Any]]:
        """The deployments of the project, oldest first."""
        answer = await self.api.get(f"/v1/projects/{self.project}/deployments")
        return list(reversed(answer.body["items"]))

    async def deployment(self, number: int = 0) -> str:
        """The id of the first deployment, or of a later one."""
        identifier: str = (await self.deployments())[number]["id"]
        return identifier

    async def is_in(self, status: str, number: int = 0) -> bool:
        """Whether a deployment has this status."""
        found = await self.deployments()
        return number < len(found) and found[number]["status"] == status


@pytest.fixture
async def desk(stack: Stack, api: Api, slug: str) -> AsyncIterator[Desk]:
    """A new project, which is deleted afterwards."""
    await api.project(slug)
    desk = Desk(stack, Shell(stack), api, slug)
    yield desk
    await api.schedule(slug, slug, "1s")
    await eventually(lambda: _is_gone(api, slug), within=30)


async def test_deploying_shows_each_step_and_where_it_serves(desk: Desk) -> None:
    """One command brings an app up, shows how it goes, ends when it serves, and says where."""
    none = desk.well("deployments", desk.project)
    done = desk.deploy("v1", "--branch", "main", "--commit", "7f3c2a1")
    answer = desk.visit()
    row = desk.well("deployments", desk.project).splitlines()[1]
    shown = desk.well("deployment", "show", await desk.deployment())

    assert none.startswith("No deployments yet")
    assert done.returncode == 0, done.stderr
    for step in ("start-instances", "wait-until-ready", "assign-domains", "activate", "finalize"):
        assert any(line.startswith("ok") and step in line and line.endswith(" s") for line in done.stdout.splitlines())
    assert "Ready after " in done.stdout
    assert f"  {desk.home}\n" in done.stdout
    assert f"  {desk.project}-git-7f3c2a1-{WORKSPACE}.{APEX}\n" in done.stdout
    assert answer == "200 v1"
    assert row.split()[1:5] == ["production", "ready", "live", "main"]
    assert "command      python3 hello.py v1" in shown
    assert "can be" not in shown
    assert "finalize" in shown


async def test_a_failing_deployment_says_why_and_changes_nothing(desk: Desk) -> None:
    """A bad version is exit code 2 with its own last words; what was live goes on serving."""
    desk.deploy("v1")
    crash = ("--", "python3", "-c", "print('no database', flush=True); raise SystemExit(3)", "--json")
    failed = desk.run("deploy", desk.project, *crash)
    parsed = desk.run("deploy", desk.project, "--json", *crash)
    answer = desk.visit()
    listed = desk.well("deployments", desk.project)

    assert failed.returncode == 2
    assert "bad  wait-until-ready" in failed.stdout
    assert "failed: An instance ended with code 3" in failed.stderr
    assert "no database" in failed.stderr
    assert "hint: 'lifecycle deployment show dep_" in failed.stderr
    assert parsed.returncode == 2
    assert json.loads(parsed.stdout)["status"] == "failed"
    assert answer == "200 v1"
    assert "An instance ended with code 3 instead of serving.\n" in listed.replace("  ", "").replace(" \n", "\n")


async def test_what_cannot_be_deployed_is_refused_before_anything_happens(desk: Desk, tmp_path: Path) -> None:
    """A slip in the command is exit code 2 with what to write instead, and leaves no deployment behind."""
    (tmp_path / "variables").write_text("# of the app\n\nMODE=fast\nhush-hush\n")
    cases = {
        "Say what to deploy": desk.run("deploy", desk.project),
        "is not NAME=VALUE": desk.run("deploy", desk.project, "--env", "hush-hush", "--", "true"),
        "Line 4 of": desk.run("deploy", desk.project, "--env-file", str(tmp_path / "variables"), "--", "true"),
        "cannot be read": desk.run("deploy", desk.project, "--source", str(tmp_path / "nowhere")),
        "region": desk.run("deploy", desk.project, "--image", "shop:1"),
        "no such project": desk.run("deploy", "nope", "--", "true"),
        "replicas": desk.run("deploy", desk.project, "--replicas", "0", "--", "true"),
    }
    items = await desk.deployments()

    for words, refused in cases.items():
        assert refused.returncode == 2, refused
        assert words in refused.stderr
        assert "hint: " in refused.stderr
        assert "hush-hush" not in refused.stderr
    assert items == []


async def test_rollback_and_promote_move_traffic_and_pin(desk: Desk) -> None:
    """Back to the one before in one command; newer ones stay aside until one is promoted."""
    desk.deploy("v1")
    desk.deploy("v2")
    back = desk.well("rollback", desk.project)
    after_rollback = desk.visit()
    aside = desk.deploy("v3")
    pinned = desk.well("deployments", desk.project)
    still = desk.visit()
    newest = await desk.deployment(2)
    promoted = desk.well("promote", newest)
    after_promotion = desk.visit()
    explicit = desk.shell.json("rollback", desk.project, await desk.deployment())
    last = desk.visit()

    assert back.startswith("Rolled back: dep_")
    assert f"  {desk.home}\n" in back
    assert (after_rollback, still, after_promotion, last) == ("200 v1", "200 v1", "200 v3", "200 v1")
    assert aside.returncode == 0
    assert "but not live. The environment is pinned" in aside.stdout
    assert f"lifecycle promote {newest}" in aside.stdout
    assert "live, pinned" in pinned
    assert "The pin is lifted." in promoted
    assert (explicit["live"], explicit["pinned"]) == (True, True)


async def test_rollback_wakes_a_stopped_deployment_first(desk: Desk) -> None:
    """The one before was stopped already; it is started, and takes over once it is healthy."""
    desk.deploy("v1")
    desk.deploy("v2")
    first = await desk.deployment()
    stopped = desk.well("deployment", "stop", first)
    await eventually(lambda: desk.is_in("stopped"), within=10)
    refused = desk.run("promote", first)
    back = desk.run("rollback", desk.project)
    answer = desk.visit()

    assert stopped.startswith(f"Stopped: {first}")
    assert refused.returncode == 2
    assert "is stopped" in refused.stderr
    assert back.returncode == 0, back.stderr
    assert "woken now" in back.stderr
    assert answer == "200 v1"


async def test_rollback_refuses_when_there_is_nothing_to_go_back_to(desk: Desk) -> None:
    """Without an earlier deployment, or with one of somebody else, it says so and moves nothing."""
    nothing = desk.run("rollback", desk.project)
    desk.deploy("v1")
    only = desk.run("rollback", desk.project)
    preview = desk.run("rollback", desk.project, "--environment", "preview")
    other = f"{desk.project}-b"
    desk.well("project", "create", other)
    foreign = desk.run("rollback", other, await desk.deployment())
    viewer = await key_of(desk.stack, workspace=WORKSPACE, person="vic@example.com", role=Role.VIEWER)
    desk.deploy("v2")
    unauthorized = desk.shell.run("rollback", desk.project, key=viewer)

    for refused, words in (
        (nothing, "Nothing is live in production"),
        (only, "no earlier deployment"),
        (preview, "Nothing is live in preview"),
        (foreign, f"is not one of {other}"),
        (unauthorized, "operator"),
    ):
        assert refused.returncode == 2, refused
        assert words in refused.stderr
    assert desk.visit() == "200 v2"


async def test_on_a_terminal_a_rollback_lists_the_domains_and_asks(desk: Desk) -> None:
    """Nobody moves traffic by a slip: the domains are listed, and without a yes nothing moves."""
    desk.deploy("v1")
    desk.deploy("v2")
    no = _answering(desk.shell, "n", "rollback", desk.project)
    unchanged = desk.visit()
    yes = _answering(desk.shell, "y", "rollback", desk.project)
    changed = desk.visit()

    assert no.returncode == 2
    assert f"back to {await desk.deployment()}" in no.stderr
    assert f"  {desk.home}\n" in no.stderr
    assert f"{desk.project}-production-{WORKSPACE}.{APEX}" in no.stderr
    assert "nothing was changed" in no.stderr
    assert yes.returncode == 0, yes.stderr
    assert (unchanged, changed) == ("200 v2", "200 v1")


async def test_own_domains_are_added_listed_and_removed(desk: Desk) -> None:
    """A domain of one's own shows what is live, is nobody else's, and leads nowhere once it is removed."""
    desk.deploy("v1")
    own = f"www.{desk.project}.example.com"
    added = desk.well("domain", "add", desk.project, own)
    served = desk.visit(own)
    other = f"{desk.project}-b"
    desk.well("project", "create", other)
    taken = desk.run("domain", "add", other, own)
    reserved = desk.run("domain", "add", desk.project, "localhost")
    suffix = desk.run("domain", "add", desk.project, "co.uk")
    listed = desk.well("domain", "list", desk.project)
    desk.deploy("v2")
    followed = desk.visit(own)
    removed = desk.well("domain", "remove", desk.project, own)
    gone = desk.visit(own)

    assert added.startswith(f"Added: {own} follows production")
    assert (served, followed) == ("200 v1", "200 v2")
    assert (taken.returncode, reserved.returncode, suffix.returncode) == (2, 2, 2)
    assert "it is a public suffix" in suffix.stderr
    kinds = {line.split()[0]: line.split()[1] for line in listed.splitlines()[1:]}
    assert kinds[own] == "custom"
    assert kinds[desk.home] == "live"
    assert removed.startswith("Removed: ")
    assert gone.startswith("404")


async def test_interrupting_leaves_the_rollout_and_says_how_to_cancel_it(desk: Desk) -> None:
    """Ctrl-C only stops watching; the rollout goes on until somebody cancels it."""
    sleeping = ("deploy", desk.project, "--", "sleep", "600")
    watching = subprocess.Popen(  # noqa: ASYNC220  it returns at once
        [LIFECYCLE, *sleeping], env=desk.shell.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    begun = watching.stdout.readline()
    await eventually(lambda: desk.is_in("deploying"), within=20)
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=20)
    deployment = await desk.deployment()
    goes_on = await desk.is_in("deploying")
    cancelled = desk.well("deployment", "cancel", deployment)
    waiting = desk.deploy("v1", "--no-wait")
    again = desk.run("deployment", "cancel", deployment)
    await eventually(lambda: desk.is_in("ready", 1), within=30)

    assert begun.startswith(f"Deploying {deployment} to production of ")
    assert watching.returncode == 130
    assert f"lifecycle deployment cancel {deployment}" in said
    assert "Traceback" not in said
    assert goes_on
    assert cancelled.startswith(f"Cancelled: {deployment}")
    assert waiting.returncode == 0
    assert "See how it goes: lifecycle deployment show dep_" in waiting.stdout
    assert again.returncode == 0  # cancelling twice is cancelling once


async def test_variables_reach_the_app_and_are_never_shown(desk: Desk, tmp_path: Path) -> None:
    """A secret in --env or a file is in the app's environment, and in no answer of Lifecycle."""
    (tmp_path / "variables").write_text("# of the app\nTOKEN=from-the-file\nMODE=a=b\n")
    show = 'exec python3 hello.py "$TOKEN" "$MODE"'
    options = ("--env-file", str(tmp_path / "variables"), "--env", "TOKEN=from-the-line")
    desk.well("deploy", desk.project, "--directory", str(EXAMPLE), *options, "--", "sh", "-c", show)
    answer = desk.visit()
    deployment = await desk.deployment()
    told = desk.well("deployment", "show", deployment, "--json") + desk.well("audit", "--json")

    assert answer == "200 from-the-line a=b"
    assert "from-the-line" not in told
    assert "GET / HTTP/1.1" in desk.well("deployment", "logs", deployment)


async def test_the_stop_of_a_replaced_deployment_is_listed_moved_kept_and_brought_forward(desk: Desk) -> None:
    """What was replaced is stopped at a time that anybody sees, moves, cancels, or makes now."""
    for version in ("v1", "v2"):
        desk.deploy(version)
    first = await desk.deployment()
    action = f"standby-stop/{first}"
    listed = await eventually(lambda: _row(desk, action), within=10)
    shown = desk.well("actions", "show", action)
    moved = desk.well("actions", "move", action, "--grace", "2h")
    kept = desk.well("actions", "cancel", action)
    nothing = desk.run("actions", "run", action)
    desk.deploy("v3")
    second = await desk.deployment(1)
    await eventually(lambda: _row(desk, f"standby-stop/{second}"), within=10)
    forward = desk.well("actions", "run", f"standby-stop/{second}")
    await eventually(lambda: desk.is_in("stopped", 1), within=10)

    assert listed.split()[2:4] == ["pending", action]
    assert "production #1: It was replaced" in listed
    assert "called        production #1" in shown
    assert "is due in 2h" in moved
    assert "goes on running" in kept
    assert nothing.returncode == 2
    assert "ends now" in forward
    assert await desk.is_in("ready")


async def test_a_folder_is_packed_and_uploaded_as_source(desk: Desk, tmp_path: Path) -> None:
    """`--source` sends a folder as it is, and the verdict of the build comes back."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "app" / "large").write_bytes(os.urandom(2_000_000))
    # An API that offers a region of images, which the worker does not know: the upload is real, the build is refused.
    port = ports.assign(("other",), remembered=tmp_path / "ports.json", given={})["other"]
    regions = "images=docker:unix:///nonexistent/docker.sock"
    environment = {**desk.stack.environment, "LIFECYCLE_API_PORT": str(port), "LIFECYCLE_REGIONS": regions}
    url = f"http://127.0.0.1:{port}"
    api = Own("api", url=url, health="/healthz", environment=environment, log=tmp_path / "api.log")
    await api.start()
    try:
        desk.shell.environment["LIFECYCLE_API_URL"] = url
        done = desk.run("deploy", desk.project, "--source", str(tmp_path / "app"))
    finally:
        await api.child.stop()
    desk.shell.environment["LIFECYCLE_API_URL"] = desk.stack.api_url
    uploaded = desk.stack.root / "sources" / f"{await desk.deployment()}.tar"
    with tarfile.open(uploaded) as tar:
        names = set(tar.getnames())

    assert done.returncode == 2
    assert "does not build images" in done.stderr
    assert "bad  build" in done.stdout
    assert names == {".", "./Dockerfile", "./large"}
    assert uploaded.stat().st_size > 2_000_000


def _row(desk: Desk, action: str) -> str | None:
    return next((line for line in desk.well("actions", "list").splitlines() if action in line), None)


def _answering(shell: Shell, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command for somebody at a terminal, who answers one question."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        return subprocess.run(
            [LIFECYCLE, *arguments], env=shell.environment, stdin=theirs, capture_output=True, text=True, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)


async def _is_gone(api: Api, project: str) -> bool:
    return (await api.get(f"/v1/tombstones/{project}")).status == HTTPStatus.OK
