"""Certificate authorities and the rotation of the wrapping key over HTTP, and on the command line."""

import asyncio
import dataclasses
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from lifecycle import clock, ids, resources, vault
from lifecycle.access import keys, store
from lifecycle.api.app import create_app
from lifecycle.certs import configuration
from lifecycle.certs.authorities import Authorities
from lifecycle.certs.verdicts import Unanswered
from lifecycle.dev import ports
from lifecycle.models import Role
from tests.integration.certs.authority import Lab, hosts, laboratory
from tests.support.api import Api
from tests.support.shell import LIFECYCLE
from tests.support.waiting import eventually
from tests.support.workbench import Workbench

PATHS = (
    ("POST", "/v1/authorities/first/account/rollover"),
    ("POST", "/v1/authorities/first/account/deactivate"),
    ("POST", "/v1/vault/rotation"),
    ("GET", "/v1/vault/rotation"),
)
Command = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
async def second() -> AsyncIterator[Lab]:
    """Another CA, to fall back on."""
    async with laboratory() as opened:
        yield opened


@pytest.fixture
async def people(
    bench: Workbench, lab: Lab, second: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    """The API for an administrator, where two authorities are set up, and one for rehearsals that is down."""
    file = tmp_path / "certificates.toml"
    file.write_text(
        f"""
        [[authority]]
        name = "first"
        directory_url = "{lab.pebble.directory_url}"
        trust_file = "{lab.pebble.trust}"
        contact = ["mailto:ops@example.com"]
        limits = "letsencrypt"
        staging = "rehearsal"

        [[authority]]
        name = "rehearsal"
        directory_url = "https://127.0.0.1:{lab.free["free"]}/dir"
        rehearsal_only = true

        [[authority]]
        name = "second"
        directory_url = "{second.pebble.directory_url}"
        trust_file = "{second.pebble.trust}"
        """
    )
    for table in ("acme_accounts", "acme_breakers", "rate_limits"):
        await bench.resources.db.execute(f"DELETE FROM {table} WHERE ca IN ('first', 'second')")
    authorities = Authorities(configuration.read(file), bench.resources.db, bench.resources.vault)
    monkeypatch.setattr(resources, "_current", dataclasses.replace(bench.resources, authorities=authorities))
    async with _serving(bench, file, tmp_path) as url:
        made = await keys.create(
            bench.resources.db,
            workspace=bench.admin.workspace,
            person="ada@example.com",
            role=Role.ADMINISTRATOR,
            by=None,
        )
        async with Api(url, made.token) as api:
            yield api
    authorities.close()


@pytest.fixture
def command(people: Api) -> Command:
    """Runs `lifecycle` against that API."""
    environment = {
        **os.environ,
        "LIFECYCLE_API_URL": people.url,
        "LIFECYCLE_API_KEY": str(people.key),
        "COLUMNS": "200",
    }

    def run(arguments: Sequence[str], typed: str) -> subprocess.CompletedProcess[str]:
        line = [str(LIFECYCLE), *arguments]
        return subprocess.run(line, env=environment, input=typed, capture_output=True, text=True, check=False)

    # In a thread: the API that it asks is served by this very loop.
    return lambda *arguments, typed="": asyncio.to_thread(run, arguments, typed)


@asynccontextmanager
async def _serving(bench: Workbench, file: Path, root: Path) -> AsyncIterator[str]:
    settings = bench.stack.settings().model_copy(update={"certificates_file": file, "platform_workspace": "workbench"})
    port = ports.assign(("api",), remembered=root / "ports.json", given={})["api"]
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), host="127.0.0.1", port=port, access_log=False, log_config=None)
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign,unused-ignore]
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, within=20)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def test_people_see_how_each_authority_stands(people: Api, lab: Lab) -> None:
    """In order of preference: whether it works, our account, its profiles, and how full its rate limits are."""
    available = resources.current().authorities
    await available.opened("first")
    await available.spend_order("first", "iss_1", hosts("a.example.com"))
    for _ in range(3):
        await available.report("second", Unanswered(reason="nobody is there"))

    listed = (await people.get("/v1/authorities")).body["items"]
    first, rehearsal, second = listed

    assert [one["order"] for one in listed] == [1, None, 2]
    assert first == (await people.get("/v1/authorities/first")).body
    assert first["account"]["url"].startswith(lab.pebble.directory_url.removesuffix("dir"))
    assert first["account"]["contact"] == ["mailto:ops@example.com"]
    assert first["breaker"] == {"state": "closed", "failures": 0, "until": None, "last_error": ""}
    assert {one["limit"]: one["left"] for one in first["budgets"]} == {"new-accounts": 9, "new-orders": 299}
    assert rehearsal["directory_error"].startswith("The certificate authority rehearsal cannot be asked")
    assert (second["breaker"]["state"], second["breaker"]["last_error"]) == ("open", "nobody is there")
    assert second["account"] is None
    assert "PRIVATE" not in json.dumps(listed)
    assert (await people.get("/v1/authorities/third")).body["code"] == "authority_unknown"


async def test_only_administrators_may(bench: Workbench, people: Api) -> None:
    """Accounts and the wrapping key are not for operators."""
    made = await keys.create(
        bench.resources.db, workspace=bench.admin.workspace, person="bob@example.com", role=Role.OPERATOR, by=None
    )
    async with people.with_key(made.token) as operator:
        answers = [await operator.call(method, path) for method, path in PATHS]
        assert (await operator.get("/v1/authorities")).status == 200

    assert [answer.body["code"] for answer in answers] == ["role_required"] * len(PATHS)


async def test_an_administrator_of_another_workspace_changes_nothing_that_is_everybodys(
    people: Api, bench: Workbench
) -> None:
    """Accounts and the key ring serve all workspaces, so a tenant's administrator sees them and leaves them."""
    elsewhere = await store.ensure_workspace(
        bench.resources.db, workspace_id=ids.new("ws"), name="tenant", now=clock.now()
    )
    made = await keys.create(
        bench.resources.db, workspace=elsewhere, person="mallory@example.com", role=Role.ADMINISTRATOR, by=None
    )
    async with people.with_key(made.token) as tenant:
        answers = [await tenant.call(method, path) for method, path in PATHS]
        assert (await tenant.get("/v1/authorities")).status == 200

    assert [answer.body["code"] for answer in answers] == ["platform_workspace_required"] * len(PATHS)


async def test_the_command_line_tells_the_story_of_an_account(people: Api, command: Command) -> None:
    """Listed, rolled over, ended after a question, and begun anew."""
    opened = await resources.current().authorities.opened("first")
    listed = await command("authority", "list")
    shown = await command("authority", "show", "first")
    rolled = await command("authority", "roll-over", "first", "--json")
    declined = await command("authority", "deactivate", "first", typed="n\n")
    ended = await command("authority", "deactivate", "first", "--yes")
    again = await command("authority", "roll-over", "first")
    unknown = await command("authority", "show", "third")

    rows = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert "works" in rows["first"]
    assert "does not answer" in rows["rehearsal"]
    assert "new-orders" in shown.stdout
    assert json.loads(rolled.stdout)["status"] == "valid"
    assert declined.returncode != 0
    assert "Deactivated: https://" in ended.stdout
    assert again.returncode == 0
    account = (await people.get("/v1/authorities/first")).body["account"]
    assert account["status"] == "valid"
    assert account["url"] != getattr(opened, "url", None)
    assert (unknown.returncode, "Choose from: first" in unknown.stderr) == (2, True)


@pytest.mark.parametrize("server", ["api", "worker"])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, server: str) -> None:
    """Whoever misspells it is told what and where, in one line, before anything runs."""
    file = tmp_path / "certificates.toml"
    file.write_text('[[authority]]\nname = "a"\ndirectory = "https://ca.example.com"\n')
    environment = {
        **os.environ,
        "LIFECYCLE_CERTIFICATES_FILE": str(file),
        "LIFECYCLE_KEY_ENCRYPTION_KEYS": vault.new_ring_line("a"),
    }
    done = subprocess.run([LIFECYCLE, server], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("error: The certificate authorities cannot be read: ")
    assert "authority.0.directory" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_wrapping_key_is_rotated_from_the_command_line(people: Api, command: Command) -> None:
    """It waits until the end, and says how many secrets are sealed under which key."""
    waited = await command("vault", "rotate", "--wait")
    shown = (await people.get("/v1/vault/rotation")).body
    started = await people.post("/v1/vault/rotation")

    assert waited.returncode == 0, waited.stderr
    assert f"{shown['looked_at']} secrets are sealed; 0 were sealed anew." in waited.stdout
    assert (shown["state"], shown["key"], shown["requested_by"]) == ("done", "dev", "ada@example.com")
    assert started.status == 202
    assert started.body["state"] == "running"
    await eventually(lambda: _rotated(people), within=20)


async def _rotated(people: Api) -> bool:
    found = await people.get("/v1/vault/rotation")
    return bool(found.body["state"] == "done")
