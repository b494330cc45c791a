"""Deployments as containers, through the whole API: images from a registry, and images built from what I upload."""

import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lifecycle.dev.stack import Stack
from tests.support import containers, shop
from tests.support.api import Answer, Api
from tests.support.containers import Engine
from tests.support.docker import BUSYBOX_IMAGE, Docker
from tests.support.shop import Shop
from tests.support.waiting import eventually

_SERVE = 'mkdir -p /www && echo "$GREETING" >>/www/index.html && exec httpd -f -p "$PORT" -h /www'


@pytest.fixture(scope="module")
async def docker(engine: Engine) -> Docker:
    """The private engine."""
    return await engine.running()


@pytest.fixture(scope="module")
async def registry(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:  # noqa: ARG001  both or none
    """A real registry on this machine, by its address."""
    async with containers.registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
async def harbour(engine: Engine, docker: Docker) -> AsyncIterator[Stack]:
    """A stack with a region for commands and one for containers."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-docker-stack-"))
    url = f"docker:{docker.environment['DOCKER_HOST']}?network={engine.network}"
    regions = f"local=process:{root}/s/instances,harbour={url}"
    running = Stack(root / "s", settings={"LIFECYCLE_REGIONS": regions, "LIFECYCLE_RECONCILER_INTERVAL": "1s"})
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        left = (await docker.run("ps", "--all", "--quiet", "--filter=label=dev.lifecycle.project")).split()
        if left:
            await docker.run("rm", "--force", *left)
        shutil.rmtree(root)


@pytest.fixture
async def owner(harbour: Stack) -> AsyncIterator[Api]:
    """The API of that stack."""
    async with shop.client(harbour) as client:
        yield client


async def test_an_image_is_deployed_by_its_digest(
    harbour: Stack, owner: Api, docker: Docker, registry: str, slug: str
) -> None:
    """What I pushed to my registry is pulled, runs, is replaced, rolled back to, and gone with the project."""
    name = f"{registry}/shop/web"
    await docker.run("tag", BUSYBOX_IMAGE, f"{name}:1")
    digest = re.findall(r"sha256:[0-9a-f]{64}", await docker.run("push", f"{name}:1"))[-1]
    await docker.run("rmi", f"{name}:1")
    made = await Shop.opened(harbour, owner, slug)
    first = await _deployed(made, image=f"{name}@{digest}", env={"GREETING": "one"})
    await made.serves("one")
    second = await _deployed(made, image=f"{name}@{digest}", env={"GREETING": "two"}, replicas=2)
    await made.serves("two")
    shown = await made.show(second)
    await made.done(first, "rollback")
    await made.serves("one")
    await owner.schedule(made.id, slug, "1s")
    await eventually(partial(_tombstone, owner, made.id), within=60)

    assert shown["image"] == f"{name}@{digest}"
    assert shown["regions"] == ["harbour"]
    assert len(shown["instances"]) == 2
    assert await docker.run("ps", "--all", "--quiet", f"--filter=label=dev.lifecycle.project={made.id}") == ""
    await docker.run("rmi", f"{name}@{digest}")


async def test_an_image_is_built_from_what_i_upload(harbour: Stack, owner: Api, docker: Docker, slug: str) -> None:
    """A rollout waits for my tarball, builds it, keeps what the build printed, and serves it."""
    made = await Shop.opened(harbour, owner, slug)
    dockerfile = f"FROM {BUSYBOX_IMAGE}\nCOPY greeting /www/index.html\nCMD {json.dumps(['sh', '-c', _SERVE])}\n"
    asked = await _ask(made, source=True)
    deployment = asked.body["id"]
    waiting = await made.until(deployment, "building")
    broken = await owner.call("PUT", f"/v1/deployments/{deployment}/source", raw=b"")
    source = containers.tarball({"Dockerfile": dockerfile, "greeting": "built by myself "})
    uploaded = await owner.call("PUT", f"/v1/deployments/{deployment}/source", raw=source)
    twice = await owner.call("PUT", f"/v1/deployments/{deployment}/source", raw=source)
    shown = await made.until(deployment, "ready", within=60)
    await made.serves("built by myself")
    late = await owner.call("PUT", f"/v1/deployments/{deployment}/source", raw=source)
    log = await owner.get(f"/v1/deployments/{deployment}/logs")

    assert [step["name"] for step in waiting["steps"]] == ["build"]
    assert (broken.status, uploaded.status) == (422, 202), (broken, uploaded)
    assert shown["image"] == f"lifecycle/{slug}:{deployment}"
    assert "COPY greeting /www/index.html" in log.body
    assert [(one.status, one.body["code"]) for one in (twice, late)] == [(409, "source_not_expected")] * 2
    assert not (Path(harbour.environment["LIFECYCLE_DEPLOY_SOURCE_FOLDER"]) / f"{deployment}.tar").exists()
    await owner.schedule(made.id, slug, "1s")
    await eventually(partial(_tombstone, owner, made.id), within=60)
    await docker.run("rmi", "--force", f"lifecycle/{slug}:{deployment}")


async def test_what_cannot_be_pulled_or_built_fails_with_its_reason(
    harbour: Stack, owner: Api, docker: Docker, registry: str, slug: str
) -> None:
    """An image that is not there, and a build that fails, end as failed with a sentence; the live one goes on."""
    made = await Shop.opened(harbour, owner, slug)
    await _deployed(made, image=BUSYBOX_IMAGE, env={"GREETING": "one"})
    absent = (await _ask(made, image=f"{registry}/shop/nothing:1")).body["id"]
    missing = await made.until(absent, "failed", within=40)
    failing = (await _ask(made, source=True)).body["id"]
    source = containers.tarball({"Dockerfile": f"FROM {BUSYBOX_IMAGE}\nRUN echo wrong semicolon && exit 7\n"})
    await owner.call("PUT", f"/v1/deployments/{failing}/source", raw=source)
    unbuilt = await made.until(failing, "failed", within=40)

    assert "There is no image" in missing["message"]
    assert "wrong semicolon" in unbuilt["message"]
    await made.serves("one")
    label = f"--filter=label=dev.lifecycle.project={made.id}"
    assert len((await docker.run("ps", "--all", "--quiet", label)).split()) == 1


async def test_a_registry_that_is_down_is_shown_and_a_cancel_ends_the_wait(
    harbour: Stack, owner: Api, slug: str
) -> None:
    """While a registry cannot be reached the step names it and is tried again; I can give the rollout up."""
    made = await Shop.opened(harbour, owner, slug)
    deployment = (await _ask(made, image="127.0.0.1:9/shop/web:1")).body["id"]

    async def in_trouble() -> bool:
        steps = (await made.show(deployment))["steps"]
        assert steps, "not begun"
        assert "127.0.0.1:9" in steps[-1]["error"]
        return bool(steps[-1]["attempts"] > 1)

    await eventually(in_trouble, within=20)
    await made.done(deployment, "cancel")
    shown = await made.until(deployment, "cancelled")

    assert shown["message"] == "Cancelled by admin@example.com."
    await eventually(partial(_rests, made, deployment), within=30)


async def _ask(made: Shop, **body: Any) -> Answer:
    asked: dict[str, Any] = {"environment": "production", **body}
    if "image" in body:
        asked["command"] = ["sh", "-c", _SERVE]
    answer = await made.api.post(f"/v1/projects/{made.id}/deployments", asked)
    assert answer.status == 202, answer
    return answer


async def _deployed(made: Shop, **body: Any) -> str:
    deployment: str = (await _ask(made, **body)).body["id"]
    await made.until(deployment, "ready", within=60)
    return deployment


async def _rests(made: Shop, deployment: str) -> bool:
    return not (await made.show(deployment))["running"]


async def _tombstone(owner: Api, project: str) -> bool:
    return (await owner.get(f"/v1/tombstones/{project}")).status == 200
