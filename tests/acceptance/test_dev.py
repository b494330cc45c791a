"""`lifecycle dev` as a person uses it: it comes up, tells where, and leaves nothing behind."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lifecycle.dev.stack import APEX, WORKSPACE
from tests.support.waiting import eventually

LIFECYCLE = Path(sys.executable).with_name("lifecycle")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-dev-"))
    yield root
    shutil.rmtree(root)


def start(folder: Path, **settings: str) -> subprocess.Popen[str]:
    """`lifecycle dev`, run from the repository, with its data in `folder`, and these settings."""
    with (folder / "out").open("w") as out:
        return subprocess.Popen(
            [LIFECYCLE, "dev", "--root", folder / "d"],
            cwd=REPOSITORY,
            env={**os.environ, **settings},
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )


def ready(folder: Path) -> dict[str, str] | None:
    """What `ready.json` says, once it is there."""
    path = folder / "d" / "ready.json"
    return json.loads(path.read_text()) if path.exists() else None


def visit(told: dict[str, str]) -> str:
    """What the app of the project `kept` answers to a visitor."""
    connection = http.client.HTTPConnection(urlsplit(told["gateway_http_url"]).netloc, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": f"kept-{WORKSPACE}.{APEX}"})
        response = connection.getresponse()
        return f"{response.status} {response.read().decode().strip()}"
    except OSError as error:
        return str(error)
    finally:
        connection.close()


def processes(folder: Path) -> list[str]:
    """The processes that have this folder in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(folder).encode() in text and state != "Z":
            found.append(text.replace(b"\0", b" ").decode(errors="replace")[:100])
    return found


async def test_it_comes_up_and_ctrl_c_stops_it_all_and_keeps_the_data(folder: Path) -> None:
    """Ready, addresses in ready.json, everything stopped by Ctrl-C, and the next time the same key, ports and apps.

    What I set for domains counts here too, although `lifecycle dev` does not verify them by itself.
    """
    first = start(folder, LIFECYCLE_DOMAINS_VERIFY="true")
    told = await eventually(lambda: ready(folder), within=90)
    command = [str(LIFECYCLE), "project", "create", "kept", "--json"]
    environment = {**os.environ, "LIFECYCLE_API_URL": told["api_url"], "LIFECYCLE_API_KEY": told["api_key"]}
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    example = ("--directory", str(REPOSITORY / "examples" / "hello"), "--", "python3", "hello.py", "kept")
    subprocess.run([LIFECYCLE, "deploy", "kept", *example], env=environment, capture_output=True, check=True)
    serving = visit(told)
    command = [str(LIFECYCLE), "domain", "add", "kept", "www.kept.example", "--json"]
    added = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    busy = subprocess.run([LIFECYCLE, "dev", "--root", folder / "d"], capture_output=True, text=True, check=False)
    still = ready(folder)
    first.send_signal(signal.SIGINT)
    code = first.wait(timeout=30)
    left = processes(folder / "d")
    gone = ready(folder)
    second = start(folder)
    again = await eventually(lambda: ready(folder), within=90)
    await eventually(lambda: visit(again) == serving, within=60)
    listed = subprocess.run(
        [LIFECYCLE, "project", "list", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    second.send_signal(signal.SIGTERM)
    second.wait(timeout=30)

    logs = {part: (folder / "d" / "logs" / f"{part}.log").read_text() for part in ("worker", "api")}

    assert code == 0
    for part, log in logs.items():
        assert log.count("Finished server process") == 2, f"{part} did not end by itself"
    assert serving == "200 kept"
    assert json.loads(added.stdout)["status"] == "pending"
    assert left == []
    assert gone is None
    assert still == told
    assert busy.returncode == 2
    assert "another 'lifecycle dev' runs" in busy.stderr
    assert again == told
    assert json.loads(listed.stdout)["items"][0]["id"] == json.loads(made.stdout)["id"]
    assert set(told) == {
        "api_url",
        "console_url",
        "api_key",
        "restate_ingress_url",
        "restate_admin_url",
        "mysql_url",
        "acme_directory_url",
        "gateway_http_url",
        "gateway_https_url",
        "ca_bundle",
    }
    assert "Lifecycle is ready" in (folder / "out").read_text()
    assert told["console_url"] == f"{told['api_url']}/"
    assert f"console    {told['console_url']} for people" in (folder / "out").read_text().replace("\n", "")


async def test_nothing_is_left_behind_when_it_is_killed(folder: Path) -> None:
    """Even `kill -9` of `lifecycle dev` leaves no server running; a part that dies is started again."""
    parent = start(folder)
    await eventually(lambda: ready(folder), within=90)
    children = processes(folder / "d")
    worker = next(int(p.name) for p in Path("/proc").iterdir() if _is_worker(p, folder))
    os.kill(worker, signal.SIGKILL)
    await eventually(lambda: "died" in (folder / "out").read_text(), within=10)
    await eventually(lambda: any(_is_worker(p, folder) for p in Path("/proc").iterdir()), within=10)
    parent.kill()
    parent.wait(timeout=10)

    assert len(children) >= 5
    await eventually(lambda: processes(folder / "d") == [], within=10)


def _is_worker(entry: Path, folder: Path) -> bool:
    if not entry.name.isdigit():
        return False
    try:
        command = (entry / "cmdline").read_bytes().split(b"\0")
        return b"worker" in command and str(folder).encode() in (entry / "environ").read_bytes()
    except OSError:
        return False
