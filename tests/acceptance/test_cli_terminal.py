"""The command line on a terminal and in pipes: colours, completion, waiting, JSON."""

import asyncio
import os
import pty
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import typer

from lifecycle.cli.main import app
from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.shell import LIFECYCLE, Shell
from tests.support.waiting import eventually

# What runs until it is stopped, or gives a file, has no JSON to show.
_WITHOUT_JSON = {
    *("dev", "api", "worker", "gateway"),
    *("cert chain", "cert key", "deployment logs"),
    *("vault new-key", "vault new-identity"),
}


@pytest.fixture
def shell(stack: Stack) -> Shell:
    """A shell."""
    return Shell(stack)


async def test_the_list_draws_a_timeline_on_a_terminal_only(shell: Shell, api: Api, slug: str) -> None:
    """On a terminal I see at a glance when how much is due; a pipe gets the table, and NO_COLOR no colours."""
    for number, grace in enumerate(("30m", "5h", "3d")):
        name = f"{slug}-{number}"
        await api.schedule(await api.project(name), name, grace)
    await eventually(lambda: shell.run("actions", "list").stdout.count(slug) == 3, within=10)
    piped = shell.run("actions", "list").stdout
    shown = _on_terminal(shell, "actions", "list")
    plain = _on_terminal(shell, "actions", "list", NO_COLOR="1")
    part = _on_terminal(shell, "actions", "list", "--limit", "2")

    assert "of the first 2; more are due after them" in part
    assert "of the first" not in shown
    assert "now" not in piped
    assert "\x1b[" not in piped
    assert re.search(r"now +1h +1d +7d", shown)
    assert "\x1b[3" in shown
    assert re.search(r"now +1h +1d +7d", plain)
    assert not re.search(r"\x1b\[(3|4|9)\d", plain)


async def test_waiting_for_a_deletion_shows_what_is_gone(shell: Shell, api: Api, slug: str) -> None:
    """With --wait the command ends when the project is deleted, and has told of each step."""
    await api.project(slug)
    done = shell.run("project", "delete", slug, "--reason", "old", "--confirm", slug, "--grace", "1s", "--wait")

    assert done.returncode == 0, done.stderr
    assert re.search(r"ok +\S+: \d+ removed", done.stderr)


async def test_waiting_for_a_deletion_that_is_cancelled_says_so(shell: Shell, api: Api, slug: str) -> None:
    """Somebody cancels while I wait: I am told, and the exit code is that of a refusal."""
    project = await api.project(slug)
    command = ("project", "delete", slug, "--reason", "old", "--confirm", slug, "--grace", "20s", "--wait")
    waiting = asyncio.create_task(asyncio.to_thread(shell.run, *command))
    await eventually(lambda: _is_scheduled(api, project), within=20)
    await api.delete(f"/v1/projects/{project}/deletion")
    ended = await waiting

    assert ended.returncode == 2
    assert "was cancelled" in ended.stderr


async def test_waiting_for_a_deletion_that_is_put_off_says_so(shell: Shell, api: Api, slug: str) -> None:
    """Somebody moves it while I wait: I am told when it is due now, and decide whether I wait for that."""
    project = await api.project(slug)
    command = ("project", "delete", slug, "--reason", "old", "--confirm", slug, "--grace", "20s", "--wait")
    waiting = asyncio.create_task(asyncio.to_thread(shell.run, *command))
    await eventually(lambda: _is_scheduled(api, project), within=20)
    await api.patch(f"/v1/projects/{project}/deletion", {"grace": "72h"})
    ended = await waiting

    assert ended.returncode == 2
    assert re.search(r"was changed: it is generation 2 now, due in (3d|2d 23h)", ended.stderr)


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell: Shell, kind: str) -> None:
    """The completion that --show-completion prints is accepted, and knows the commands."""
    # Which shell asks is otherwise found out from the processes above, and then it is that of whoever runs the tests.
    told = {**shell.environment, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = subprocess.run([LIFECYCLE, "--show-completion", kind], env=told, capture_output=True, text=True, check=True)
    words = "lifecycle act"
    variables = {
        "COMP_WORDS": words,
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [LIFECYCLE],
        env={**shell.environment, **variables, "_LIFECYCLE_COMPLETE": f"complete_{kind}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"complete_{kind}" in shown.stdout
    assert "actions" in done.stdout


def test_every_command_can_answer_in_json() -> None:
    """Programs need not read sentences: whatever does something or shows something takes --json."""
    without = {
        name
        for name, command in _commands(typer.main.get_command(app))
        if not any("--json" in one.opts for one in command.params)
    }

    assert without == _WITHOUT_JSON


async def test_what_takes_something_away_says_so_in_json(shell: Shell, api: Api, slug: str) -> None:
    """A script that cleans up reads what it did, and a person reads a sentence."""
    await api.project(slug)
    domain, address = f"{slug}.example.com", f"{slug}@example.com"
    shell.well("domain", "add", slug, domain)
    key = shell.json("key", "create", "eve@example.com")["id"]
    link = shell.json("calendar", "create")["id"]
    webhook = shell.json("webhook", "add", "https://hooks.example.com/x")["id"]
    shell.well("recipient", "set", address, "--event", "*")

    assert shell.json("domain", "remove", slug, domain) == {"project": slug, "domain": domain, "removed": True}
    assert shell.json("key", "revoke", key) == {"id": key, "revoked": True}
    assert shell.json("calendar", "revoke", link) == {"id": link, "revoked": True}
    assert shell.json("webhook", "remove", webhook) == {"id": webhook, "removed": True}
    assert shell.json("recipient", "remove", address) == {"address": address, "removed": True}
    assert shell.json("migrate")["schema"] == shell.json("migrate")["before"]
    assert shell.json("register")["uri"].startswith("http")


async def test_the_audit_log_is_searched(shell: Shell, api: Api, slug: str) -> None:
    """Who did what to a project, of one kind, by one person, in a time: each narrows what is shown."""
    project = await api.project(slug)
    await api.schedule(project, slug, "72h")
    await api.delete(f"/v1/projects/{project}/deletion")

    def found(*wanted: str) -> list[str]:
        return [one["action"] for one in shell.json("audit", "--project", slug, *wanted)["items"]]

    await eventually(lambda: "deletion.cancelled" in found(), within=10)
    (scheduled,) = shell.json("audit", "--project", slug, "--action", "deletion.scheduled")["items"]

    assert set(found("--action", "deletion.*")) == {"deletion.scheduled", "deletion.cancelled"}
    assert found("--person", scheduled["actor"], "--action", "deletion.scheduled") == ["deletion.scheduled"]
    assert found("--person", "nobody@example.com") == found("--domain", "www.example.com") == []
    assert "deletion.scheduled" not in found("--until", scheduled["at"])
    assert "deletion.scheduled" in found("--since", scheduled["at"])
    assert shell.well("audit", "--project", slug, "--person", "nobody@example.com") == "Nothing like that happened.\n"


def _commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    children: Mapping[str, Any] = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}".strip())


async def _is_scheduled(api: Api, project: str) -> bool:
    return bool((await api.deletion(project))["phase"] == "scheduled")


def _on_terminal(shell: Shell, *arguments: str, **variables: str) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                return
            shown.append(part)

    reader = threading.Thread(target=read)
    environment = {**shell.environment, "TERM": "xterm-256color", **variables}
    try:
        with subprocess.Popen([LIFECYCLE, *arguments], env=environment, stdout=theirs, stderr=theirs) as running:
            os.close(theirs)
            reader.start()
            running.wait(30)
        reader.join(5)
    finally:
        os.close(ours)
    return b"".join(shown).decode()
