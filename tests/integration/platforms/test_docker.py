"""What only the Docker platform promises: images from registries, builds, and what containers may do."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecycle.deploy.platforms.docker import DockerPlatform
from lifecycle.deploy.platforms.platform import Built, InstanceStatus, PlatformDownError, Refused, Running
from tests.integration.platforms.kits import AT_ONCE, COMMANDS, DockerKit, answers
from tests.support import containers as containers_support
from tests.support.docker import BUSYBOX_IMAGE
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def registry(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A real registry on this machine, by its address."""
    async with containers_support.registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


async def test_an_image_comes_from_its_registry_by_digest(containers: DockerKit, registry: str) -> None:
    """What I pushed to my registry is fetched when it is missing, and exactly that content runs."""
    name = f"{registry}/shop/web"
    await containers.docker.run("tag", BUSYBOX_IMAGE, f"{name}:1")
    digest = re.findall(r"sha256:[0-9a-f]{64}", await containers.docker.run("push", f"{name}:1"))[-1]
    await containers.docker.run("rmi", f"{name}:1")
    assert name not in await containers.docker.run("images", "--digests")

    spec = containers.spec("serve").model_copy(update={"image": f"{name}@{digest}"})
    await containers.serving(spec)
    assert f"{name}@{digest}" in (await _inspect(containers, spec.id))["Config"]["Image"]
    await containers.platform.remove(spec.id, grace=AT_ONCE)
    await containers.docker.run("rmi", f"{name}@{digest}")


async def test_an_image_that_does_not_exist_is_refused(containers: DockerKit, registry: str) -> None:
    """A wrong image is named with Docker's reason, and nothing is left of the attempt."""
    absent = {
        f"{registry}/shop/nothing:1": "There is no image",
        f"{registry}/shop/nothing@sha256:{'0' * 64}": "There is no image",
        "Not A Reference": "invalid reference format",
    }
    for image, sentence in absent.items():
        spec = containers.spec("serve").model_copy(update={"image": image})
        refused = await containers.platform.start(spec, containers.environment())
        assert isinstance(refused, Refused)
        assert sentence in refused.why
        assert image in refused.why
    assert await containers.rest() == []


async def test_a_registry_that_is_down_is_named(containers: DockerKit) -> None:
    """When a registry cannot be reached, that is no mistake of mine; it is tried again, and I learn which one it is."""
    spec = containers.spec("serve").model_copy(update={"image": "127.0.0.1:9/shop/web:1"})
    with pytest.raises(PlatformDownError, match=r"127\.0\.0\.1:9 .*refused"):
        await containers.platform.start(spec, containers.environment())


async def test_what_docker_cannot_run_is_explained(containers: DockerKit) -> None:
    """A file that is no program, or limits that the machine does not have, are refused with Docker's reason."""
    wrong: Mapping[str, Mapping[str, Any]] = {
        "Permission denied": {"command": ("/etc/hosts",)},
        "Range of CPUs": {"cpu_millicores": 1_000_000},
        "inimum memory limit": {"memory_mib": 1},
    }
    for sentence, change in wrong.items():
        spec = containers.spec("serve").model_copy(update=change)
        refused = await containers.platform.start(spec, containers.environment())
        assert isinstance(refused, Refused)
        assert sentence in refused.why
    assert await containers.rest() == []


async def test_docker_brings_back_what_ends(containers: DockerKit) -> None:
    """A program that fails is started again without anybody's help, and the number of starts is shown."""
    spec = containers.spec("fail")
    await containers.platform.start(spec, containers.environment())

    async def is_restarted() -> bool:
        return (await containers.found(spec.id)).restarts >= 2

    await eventually(is_restarted, within=20)
    assert (await containers.exited(spec.id)).exit_code == 3


async def test_containers_can_do_little(containers: DockerKit) -> None:
    """A container has no capabilities and cannot get any, has its limits, and cannot fill the disk with output."""
    spec = containers.spec("serve").model_copy(update={"memory_mib": 64, "cpu_millicores": 250, "port": 3000})
    await containers.serving(spec)
    shown = await _inspect(containers, spec.id)
    status = await containers.docker.run("exec", spec.id, "cat", "/proc/1/status")

    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    host = shown["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 * 1024 * 1024, 250_000_000, 512)
    assert host["LogConfig"]["Config"] == {"max-size": "5m", "max-file": "2"}
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert [port["HostIp"] for port in shown["NetworkSettings"]["Ports"]["3000/tcp"]] == ["127.0.0.1"]
    assert "PORT=3000" in shown["Config"]["Env"]
    assert (
        shown["Config"]["Labels"].items()
        >= {
            "dev.lifecycle.instance": spec.id,
            "dev.lifecycle.project": spec.project,
            "dev.lifecycle.deployment": spec.deployment,
        }.items()
    )


async def test_on_the_network_of_the_host_each_has_a_port_of_its_own(containers: DockerKit) -> None:
    """Where containers share the machine's network, each gets a free port, and keeps it when it is started again."""
    platform = DockerPlatform(containers.docker.environment["DOCKER_HOST"], network="host")
    specs = [containers.spec("serve") for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        starts = [group.create_task(platform.start(spec, containers.environment())) for spec in specs]
    started = [start.result() for start in starts]
    addresses = [one.address for one in started if isinstance(one, Running)]
    for address in addresses:
        await eventually(lambda address=address: answers(address, "hello"), within=15)  # type: ignore[misc]

    assert len(set(addresses)) == 3
    assert all(20_000 <= int(address.rpartition(":")[2]) < 32_000 for address in addresses)
    await containers.kill(specs[0].id)
    await containers.exited(specs[0].id)
    assert await platform.start(specs[0], {}) == started[0]
    await platform.close()


async def test_a_container_of_somebody_else_is_left_alone(containers: DockerKit) -> None:
    """A name that is taken by a container that Lifecycle did not make is refused, and that container stays."""
    spec = containers.spec("serve")
    label = "--label=dev.lifecycle.managed=true"  # as on every container of an image that Lifecycle built
    await containers.docker.run("create", f"--name={spec.id}", label, BUSYBOX_IMAGE, "true")
    try:
        refused = await containers.platform.start(spec, {})
        assert isinstance(refused, Refused)
        assert spec.id in refused.why
        assert await containers.platform.inspect(spec.id) is None
        assert await containers.platform.find() == []
        await containers.platform.remove(spec.id, grace=AT_ONCE)
        assert await containers.rest() == [spec.id]
    finally:
        await containers.docker.run("rm", spec.id)


async def test_an_engine_that_does_not_answer_is_down(tmp_path: Path) -> None:
    """An engine that hangs makes nobody wait longer than the limit."""
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        platform = DockerPlatform(f"unix://{path}", timeout=timedelta(milliseconds=200))
        with pytest.raises(PlatformDownError, match=r"did not answer within 0\.2 s"):
            await platform.find()
        await platform.close()


async def test_an_image_is_built_from_a_tarball(containers: DockerKit, tmp_path: Path) -> None:
    """What I upload becomes an image that runs, and I can read what the build printed."""
    dockerfile = f"FROM {BUSYBOX_IMAGE}\nCOPY words /words\nCMD {json.dumps(COMMANDS['docker']['serve'])}\n"
    source = _tarball(tmp_path, {"Dockerfile": dockerfile, "words": "x" * 3_000_000})
    log, tag = tmp_path / "log", f"built-{containers.mark}:1"
    log.write_text("before\n")
    platform = containers.again()
    built = await platform.build(tag=tag, source=source, log=log)

    assert built == Built(image=tag)
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert any(line.endswith(" : COPY words /words") for line in lines)
    image = json.loads(await containers.docker.run("image", "inspect", tag))[0]
    assert image["Config"]["Labels"] == {"dev.lifecycle.managed": "true"}
    spec = containers.spec("serve").model_copy(update={"image": tag, "command": ()})
    await containers.serving(spec)
    assert (await containers.found(spec.id)).status == InstanceStatus.RUNNING
    await platform.remove(spec.id, grace=AT_ONCE)
    await containers.docker.run("rmi", tag)
    await platform.close()


async def test_a_failing_build_is_explained(containers: DockerKit, tmp_path: Path) -> None:
    """When the build fails, I see the last lines it printed, and the whole of it in the log."""
    failing = {
        "returned a non-zero code: 7": {
            "Dockerfile": f"FROM {BUSYBOX_IMAGE}\nRUN echo compiling && echo wrong semicolon && exit 7\n"
        },
        "unknown instruction": {"Dockerfile": "FORM scratch\n"},
        "ockerfile": {"README": "no Dockerfile here"},
        "nothing-like-this": {"Dockerfile": f"FROM {BUSYBOX_IMAGE}\nCOPY nothing-like-this /\n"},
    }
    platform = containers.again()
    for sentence, files in failing.items():
        log = tmp_path / "log"
        built = await platform.build(tag="never:1", source=_tarball(tmp_path, files), log=log)
        assert isinstance(built, Refused)
        assert sentence in built.why
    first = await platform.build(
        tag="never:1", source=_tarball(tmp_path, failing["returned a non-zero code: 7"]), log=log
    )
    assert isinstance(first, Refused)
    assert "wrong semicolon" in first.why
    assert "compiling" in log.read_text()
    assert "never" not in await containers.docker.run("images")
    assert await containers.rest() == []
    await platform.close()


async def test_a_source_that_is_no_tarball_is_refused(containers: DockerKit, tmp_path: Path) -> None:
    """A broken upload is my mistake, not an outage."""
    source = _tarball(tmp_path, {"Dockerfile": f"FROM {BUSYBOX_IMAGE}\n", "words": "x" * 100_000})
    platform = containers.again()
    for content in (b"this is no tarball", source.read_bytes()[:50_000]):
        source.write_bytes(content)
        assert isinstance(await platform.build(tag="never:1", source=source, log=tmp_path / "log"), Refused)
    await platform.close()


async def test_a_build_has_a_limit(containers: DockerKit, tmp_path: Path) -> None:
    """A build that does not end is given up, and nothing of it goes on."""
    platform = DockerPlatform(containers.docker.environment["DOCKER_HOST"], build_timeout=timedelta(seconds=1))
    source = _tarball(tmp_path, {"Dockerfile": f"FROM {BUSYBOX_IMAGE}\nRUN sleep 600\n"})
    with pytest.raises(PlatformDownError, match="did not answer within 1 s"):
        await platform.build(tag="never:1", source=source, log=tmp_path / "log")
    await platform.close()

    await eventually(lambda: _is_empty(containers), within=20)


async def _is_empty(kit: DockerKit) -> bool:
    return await kit.rest() == []


async def _inspect(kit: DockerKit, container: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(await kit.docker.run("inspect", container))
    return found[0]


def _tarball(folder: Path, files: Mapping[str, str]) -> Path:
    path = folder / "source.tar"
    path.write_bytes(containers_support.tarball(files))
    return path
