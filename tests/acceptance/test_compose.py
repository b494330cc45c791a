"""Lifecycle as containers: the committed Dockerfile and docker-compose.yml, unmodified, on a real Docker engine."""

import json
import os
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lifecycle.dev import ports
from lifecycle.receipts import signing
from tests.support import docker
from tests.support.api import Api
from tests.support.docker import COMPOSE_FILE, OWN_IMAGE, REPOSITORY, CommandFailedError, Compose, Docker
from tests.support.waiting import eventually

OURS = ("worker", "api")
THEIRS = ("mysql", "restate")
ALL = (*OURS, *THEIRS)


class Running(NamedTuple):
    """Lifecycle after `docker compose up -d --wait`."""

    docker: Docker
    compose: Compose
    port: int
    api: Api

    async def container(self, service: str) -> dict[str, Any]:
        """What the engine knows about the container of a service."""
        name = (await self.compose.run("ps", "--all", "--quiet", service)).strip()
        found: list[dict[str, Any]] = json.loads(await self.docker.run("inspect", name))
        return found[0]

    async def secrets(self) -> dict[str, list[str]]:
        """The lines of every file with a secret, by its name in `/secrets`."""
        found: dict[str, list[str]] = {}
        command = ("run", "--rm", "-T", "--workdir=/secrets", "--entrypoint=grep", "init", "--recursive", "", "--", ".")
        for line in (await self.compose.run(*command)).splitlines():
            name, _, content = line.removeprefix("./").partition(":")
            found.setdefault(name, []).append(content)
        return found


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[Docker]:
    """A private Docker engine with all images. Without one these tests are skipped, but never in CI."""
    try:
        async with docker.engine() as running:
            await docker.make_images(running)
            yield running
    except docker.DockerUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
async def running(engine: Docker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """What `docker compose up -d --wait` gives, with a short minimum grace."""
    port = ports.assign(("api",), remembered=tmp_path_factory.mktemp("compose") / "ports.json", given={})["api"]
    variables = {
        "LIFECYCLE_PORT": str(port),
        "LIFECYCLE_DELETION_MIN_GRACE": "1s",
        "LIFECYCLE_RECONCILER_INTERVAL": "2s",
    }
    compose = Compose(engine, project="lifecycle-test", variables=variables)
    try:
        await compose.run("up", "--detach", "--wait", "--wait-timeout=240", "--no-build")
    except CommandFailedError as error:
        pytest.fail(f"{error}\n{await compose.run('logs', '--no-color', '--tail=40')}")
    bootstrap = ("run", "--rm", "-T", "--no-deps", "api", "key", "bootstrap", "ada@example.com", "--json")
    made = json.loads(await compose.run(*bootstrap))
    async with Api(f"http://127.0.0.1:{port}", made["token"]) as api:
        yield Running(engine, compose, port, api)


async def test_the_compose_file_is_valid() -> None:
    """The committed file means what Docker understands, with no variable left open."""
    said = await docker.run(docker.compose_command("config", "--quiet"))
    assert said == ""


async def test_a_wrong_compose_file_would_be_noticed(tmp_path: Path) -> None:
    """The check above is worth something: a misspelt key is refused."""
    planted = tmp_path / "docker-compose.yml"
    planted.write_text(COMPOSE_FILE.read_text().replace("    restart: unless-stopped\n", "    restrat: always\n", 1))
    with pytest.raises(CommandFailedError, match="restrat"):
        await docker.run(docker.compose_command("config", "--quiet", file=planted))


def test_versions_are_the_same_everywhere() -> None:
    """Containers run the engine, and are built with the uv, that this repository pins and tests with."""
    compose, dockerfile = COMPOSE_FILE.read_text(), (REPOSITORY / "Dockerfile").read_text()
    setup = (REPOSITORY / "scripts" / "setup").read_text()

    assert docker.RESTATE_IMAGE.format(version=docker.restate_version()) in compose
    assert f"ARG PYTHON_IMAGE={docker.PYTHON_IMAGE}\n" in dockerfile
    assert re.findall(r"^ARG UV_VERSION=(.*)$", dockerfile, re.MULTILINE) == re.findall(
        r"^UV_VERSION=(.*)$", setup, re.MULTILINE
    )


async def test_the_image_holds_what_runs_and_nothing_else(engine: Docker) -> None:
    """No root, no build tool, no cache, no test package."""
    image = json.loads(await engine.run("inspect", OWN_IMAGE))[0]["Config"]
    assert image["User"] == "10001:10001"
    assert image["Entrypoint"] == ["lifecycle"]

    async def inside(command: str) -> list[str]:
        return (await engine.run("run", "--rm", "--network=none", "--entrypoint=sh", OWN_IMAGE, "-c", command)).split()

    assert await inside("ls /opt") == ["lifecycle"]
    assert await inside("find / -xdev '(' -name .cache -o -name pip -path '/opt/*' ')' 2>/dev/null; true") == []
    names = "from importlib.metadata import distributions as all; print(*(one.name for one in all()))"
    packages = await inside(f"python -c '{names}'")
    assert "lifecycle" in packages
    assert not {"pytest", "mypy", "ruff", "uv", "pip"} & set(packages)


async def test_a_deletion_is_scheduled_seen_and_cancelled(running: Running, slug: str) -> None:
    """What is going to happen in three days can be seen and taken back, over the published port."""
    api = running.api
    project = await api.project(slug)
    scheduled = await api.schedule(project, slug, "72h")
    assert scheduled.status == 202, scheduled

    async def listed() -> list[dict[str, Any]]:
        items = (await api.get(f"/v1/actions?project={project}")).body["items"]
        return [item for item in items if item["state"] == "pending" and item["due_at"] == scheduled.body["due_at"]]

    assert await eventually(listed, within=10)
    cancelled = await api.delete(f"/v1/projects/{project}/deletion")
    assert (cancelled.status, cancelled.body["outcome"]) == (200, "cancelled")
    assert (await api.deletion(project))["phase"] == "none"


async def test_a_deletion_is_carried_out_with_a_receipt_that_anybody_can_check(running: Running, slug: str) -> None:
    """At its time it happens, and the receipt is genuine by the published keys alone."""
    api = running.api
    project = await api.project(slug)
    scheduled = await api.schedule(project, slug, "2s")
    assert scheduled.status == 202, scheduled

    tombstone = await eventually(lambda: _tombstone(api, project), within=30)
    async with api.with_key(None) as anybody:
        keys = (await anybody.get("/.well-known/jwks.json")).body
    stated = signing.verify(tombstone["receipt"], keys)
    assert (stated["project"], stated["slug"], stated["generation"]) == (project, slug, scheduled.body["generation"])


async def test_what_is_pending_survives_new_containers(running: Running, slug: str) -> None:
    """Engine and worker are replaced, as an upgrade does it: the deletion keeps its time, and happens."""
    api = running.api
    kept, due_soon = await api.project(slug), await api.project(f"{slug}-soon")
    await api.schedule(kept, slug, "72h")
    before = await api.deletion(kept)
    soon = await api.schedule(due_soon, f"{slug}-soon", "20s")
    replaced = [(await running.container(service))["Id"] for service in (*THEIRS, "worker")]

    await running.compose.run("up", "--detach", "--wait", "--no-build", "--force-recreate", *THEIRS, "worker")

    assert not set(replaced) & {(await running.container(service))["Id"] for service in (*THEIRS, "worker")}
    assert await eventually(lambda: api.deletion(kept), within=20) == before
    tombstone = await eventually(lambda: _tombstone(api, due_soon), within=60)
    assert datetime.fromisoformat(tombstone["deleted_at"]) >= datetime.fromisoformat(soon.body["due_at"])


async def test_starting_again_changes_nothing(running: Running) -> None:
    """A second `docker compose up` makes no new secret, and what ran goes on running."""
    secrets = await running.secrets()
    before = {service: (await running.container(service))["State"]["StartedAt"] for service in ALL}

    await running.compose.run("up", "--detach", "--wait", "--no-build")

    assert {service: (await running.container(service))["State"]["StartedAt"] for service in ALL} == before
    assert await running.secrets() == secrets


async def test_only_the_api_can_be_reached_from_outside(running: Running) -> None:
    """The engine's ports and the database are for Lifecycle alone; the API listens on this machine only."""
    published = {service: (await running.container(service))["HostConfig"]["PortBindings"] or {} for service in ALL}
    assert published == {
        "api": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(running.port)}]},
        "worker": {},
        "mysql": {},
        "restate": {},
    }
    for service in THEIRS:
        networks = (await running.container(service))["NetworkSettings"]["Networks"]
        assert list(networks) == ["lifecycle-test_inside"]
    inside = json.loads(await running.docker.run("network", "inspect", "lifecycle-test_inside"))[0]
    assert inside["Internal"] is True


@pytest.mark.parametrize("service", OURS)
async def test_our_containers_can_do_little(running: Running, service: str) -> None:
    """They run as an ordinary user, without capabilities, on a file system that cannot be written."""
    status = await running.compose.run("exec", "-T", service, "cat", "/proc/1/status")
    assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert (await running.container(service))["HostConfig"]["ReadonlyRootfs"] is True


async def test_secrets_are_in_files_that_only_their_readers_have(running: Running) -> None:
    """No secret is in a container's settings or in a log, and no container has one that it does not need."""
    everything = await running.compose.run("logs", "--no-color")
    readers: dict[str, list[str]] = {"lifecycle-secrets": [], "mysql-secrets": [], "restate-secrets": []}
    for service in ("mysql", "restate", "migrate", "worker", "register", "api"):
        container = await running.container(service)
        everything += json.dumps(container)
        for volume in readers:
            mounts = [mount for mount in container["Mounts"] if mount.get("Name") == f"lifecycle-test_{volume}"]
            assert not any(mount["RW"] for mount in mounts)
            readers[volume] += [service] * bool(mounts)

    assert readers == {
        "lifecycle-secrets": ["worker", "api"],
        "mysql-secrets": ["mysql", "migrate", "worker", "api"],
        "restate-secrets": ["restate"],
    }
    secrets = await running.secrets()
    assert sorted(secrets) == ["lifecycle/identity.pub", "lifecycle/key-ring", "mysql/password", "restate/identity.pem"]
    key = secrets["lifecycle/key-ring"][0].partition(":")[2]
    for secret in (key, secrets["mysql/password"][0], secrets["restate/identity.pem"][1]):
        assert len(secret) >= 40
        assert secret not in everything


async def test_the_worker_obeys_only_its_own_engine(running: Running) -> None:
    """A call that the engine did not sign is refused, even from a container beside it."""
    program = (
        "import urllib.error, urllib.request as r\n"
        "try: print(r.urlopen('http://worker:9080/discover', timeout=5).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)"
    )
    assert (await running.compose.run("exec", "-T", "api", "python", "-c", program)).strip() == "401"


async def test_stopping_is_orderly(running: Running) -> None:
    """When it is told to stop, every part ends by itself, and is not killed."""
    await running.compose.run("stop")
    codes = {service: (await running.container(service))["State"]["ExitCode"] for service in ALL}
    assert codes == dict.fromkeys(ALL, 0)


async def _tombstone(api: Api, project: str) -> dict[str, str] | None:
    answer = await api.get(f"/v1/tombstones/{project}")
    return answer.body if answer.status == 200 else None
