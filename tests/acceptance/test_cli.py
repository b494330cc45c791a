"""The command line: what it prints, asks, and answers to a shell."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.shell import LIFECYCLE, Shell
from tests.support.waiting import eventually


@pytest.fixture
def shell(stack: Stack) -> Shell:
    """A shell."""
    return Shell(stack)


async def test_delete_shows_the_impact_and_asks_for_the_slug(shell: Shell, slug: str) -> None:
    """Nobody deletes by a slip: what would go is shown, and the slug must be typed."""
    shell.run("project", "create", slug)
    wrong = shell.run("project", "delete", slug, "--reason", "old", input="wrong\n")
    right = shell.run("project", "delete", slug, "--reason", "old", input=f"{slug}\n")
    dry = shell.run("project", "delete", slug, "--reason", "old", "--dry-run")

    assert "2 environments" in wrong.stderr
    assert (wrong.returncode, right.returncode) == (2, 0)
    assert "error: 'confirm' does not repeat the slug" in wrong.stderr
    assert "hint: Type the project's slug" in wrong.stderr
    assert "in 3d" in right.stdout or "in 2d 23h" in right.stdout
    assert dry.stdout.startswith("Would remove 2 environments")


async def test_the_list_says_what_is_due_in_how_long(shell: Shell, slug: str) -> None:
    """One look shows what happens when, to what, and who wanted it."""
    shell.run("project", "create", slug)
    shell.run("project", "delete", slug, "--reason", "replaced", "--confirm", slug, "--grace", "5h")

    def listed() -> str | None:
        out = shell.run("actions", "list").stdout
        return next((line for line in out.splitlines() if slug in line), None)

    line = await eventually(listed, within=10)
    moved = shell.run("actions", "move", f"project-deletion/{slug}", "--grace", "7h")
    held = shell.run("project", "hold", slug, "legal", "--reason", "case 17")
    released = shell.run("project", "release", slug, "legal")
    cancelled = shell.run("actions", "cancel", f"project-deletion/{slug}")

    assert line.split()[:2] == ["5h", "pending"] or line.split()[:3] == ["4h", "59m", "pending"]
    assert "replaced" in line
    assert moved.returncode == 0
    assert "blocked by    legal" in held.stdout
    assert "blocked" not in released.stdout
    assert cancelled.stdout.startswith("Cancelled")


async def test_a_receipt_is_accepted_and_a_changed_one_rejected(
    shell: Shell, api: Api, slug: str, tmp_path: Path
) -> None:
    """`receipt verify` accepts the true receipt, also offline, and rejects one with a changed byte."""
    project = await api.project(slug)
    await api.schedule(project, slug, "1s")
    await eventually(lambda: shell.run("receipt", "show", slug).returncode == 0, within=20)
    receipt = shell.run("receipt", "show", slug).stdout.strip()
    (tmp_path / "receipt").write_text(receipt)
    (tmp_path / "jwks").write_text(json.dumps((await api.get("/.well-known/jwks.json")).body))
    middle = len(receipt) // 2
    changed = receipt[:middle] + ("A" if receipt[middle] != "A" else "B") + receipt[middle + 1 :]
    online = shell.run("receipt", "verify", str(tmp_path / "receipt"))
    offline = shell.run("receipt", "verify", "-", "--jwks", str(tmp_path / "jwks"), input=receipt)
    rejected = shell.run("receipt", "verify", "-", input=changed)
    junk = shell.run("receipt", "verify", "-", input="not a receipt")
    missing = shell.run("receipt", "verify", str(tmp_path / "nowhere"))

    assert online.returncode == 0, online.stderr
    assert "genuine" in online.stdout
    assert offline.returncode == 0, offline.stderr
    for refused in (rejected, junk, missing):
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: ")


async def test_doctor_finds_everything_well(shell: Shell) -> None:
    """On a healthy system every check is green, and the exit code says so."""
    done = await eventually(lambda: _well(shell), within=20)

    for name in ("database", "engine", "clocks", "worker", "reconciler", "gateway", "region local"):
        assert f"{name}: " in done


async def test_doctor_says_how_to_mend(shell: Shell) -> None:
    """What is not well comes with what to do, and exit code 1."""
    broken = {
        "LIFECYCLE_DATABASE_URL": "mysql://x@127.0.0.1:1/x",
        "LIFECYCLE_RESTATE_ADMIN_URL": "http://127.0.0.1:1",
        "LIFECYCLE_RESTATE_INGRESS_URL": "http://127.0.0.1:1",
        "LIFECYCLE_GATEWAY_FOLDER": "/nonexistent/lifecycle",
        "LIFECYCLE_REGIONS": "eu=docker:unix:///nonexistent/docker.sock",
    }
    done = subprocess.run(
        [LIFECYCLE, "doctor"], env={**shell.environment, **broken}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stdout.count("hint:") >= 6
    for name in ("gateway", "region eu"):
        assert f"bad  {name}: " in done.stdout


async def test_the_gateway_is_set_up_with_one_command(shell: Shell) -> None:
    """`lifecycle gateway` writes what HAProxy needs, and prints the command that starts it."""
    folder = Path(tempfile.mkdtemp(prefix="lifecycle-gateway-"))
    try:
        shell.environment["LIFECYCLE_GATEWAY_FOLDER"] = str(folder / "g")
        command = shell.well("gateway", "--listen", "127.0.0.1:28080").strip()
        checked = subprocess.run(
            ["/bin/sh", "-c", f"{command} -c"], env={"PATH": "/usr/sbin:/usr/bin"}, capture_output=True, check=False
        )
        odd = shell.run("gateway", "--listen", "somewhere")
        del shell.environment["LIFECYCLE_GATEWAY_FOLDER"]
        unset = shell.run("gateway", "--listen", "127.0.0.1:28080")
    finally:
        shutil.rmtree(folder)

    assert checked.returncode == 0, checked.stderr
    for refused, words in ((odd, "is not host:port"), (unset, "LIFECYCLE_GATEWAY_FOLDER is not set")):
        assert refused.returncode == 2
        assert words in refused.stderr


async def test_keys_are_made_listed_and_revoked(shell: Shell) -> None:
    """A key is shown once, listed without its secret, and ends when it is revoked."""
    made = shell.json("key", "create", "zoe@example.com", "--role", "viewer")
    token = str(made["token"])
    before = shell.run("project", "list", key=token)
    refused = shell.run("project", "create", "nope", key=token)
    listed = shell.run("key", "list")
    shell.run("key", "revoke", str(made["id"]))
    after = shell.run("project", "list", key=token)

    assert before.returncode == 0
    assert refused.returncode == 2
    assert str(made["id"]) in listed.stdout
    assert token not in listed.stdout
    assert after.returncode == 2
    assert "unknown or revoked" in after.stderr


async def test_a_second_key_bootstraps_a_second_administrator(shell: Shell, slug: str) -> None:
    """`key bootstrap` makes an administrator straight in the database; expedite takes such a second one."""
    token = shell.run("key", "bootstrap", "bob@example.com", "--workspace", "dev").stdout.strip()
    shell.run("project", "create", slug)
    shell.run("project", "delete", slug, "--reason", "x", "--confirm", slug)
    alone = shell.run("project", "expedite", slug)
    together = shell.run("project", "expedite", slug, key=token)

    assert alone.returncode == 2
    assert "somebody else must expedite" in alone.stderr
    assert together.returncode == 0, together.stderr
    assert "bob@example.com" in together.stdout


async def test_errors_are_clear_without_an_api(shell: Shell, tmp_path: Path) -> None:
    """Without a key or a server the command line says what to set or start, not a stack trace."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("LIFECYCLE_")}
    nowhere = subprocess.run(
        [LIFECYCLE, "actions", "list"], cwd=tmp_path, env=bare, capture_output=True, text=True, check=False
    )
    down = subprocess.run(
        [LIFECYCLE, "actions", "list"],
        env={**shell.environment, "LIFECYCLE_API_URL": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    odd = subprocess.run(
        [LIFECYCLE, "doctor"],
        env={**shell.environment, "LIFECYCLE_DELETION_GRACE": "soon"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert nowhere.returncode == 2
    assert "lifecycle dev" in nowhere.stderr
    assert down.returncode == 1
    assert "cannot be reached" in down.stderr
    assert odd.returncode == 2
    assert "LIFECYCLE_DELETION_GRACE" in odd.stderr
    for done in (nowhere, down, odd):
        assert "Traceback" not in done.stderr


def _well(shell: Shell) -> str | None:
    done = shell.run("doctor")
    return done.stdout if done.returncode == 0 else None
