"""Instances as containers of a Docker-compatible engine, which runs on the machine of the gateway.

A container has the name of its instance, and labels that say whose it is. The engine starts it again by itself when it
ends, and after a restart of the machine. aiodocker is imported here, in `progress.py` and in `verdicts.py` only.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
from aiodocker import DockerError

from lifecycle.deploy.platforms import ports, progress, verdicts
from lifecycle.deploy.platforms.platform import (
    Built,
    Found,
    InstanceSpec,
    InstanceStatus,
    PlatformDownError,
    Refused,
    Running,
)

_MANAGED, _INSTANCE, _PROJECT, _DEPLOYMENT, _PUBLISHED = (
    f"dev.lifecycle.{name}" for name in ("managed", "instance", "project", "deployment", "published")
)
_HOST_NETWORK = "host"
_HOST = "127.0.0.1"
_DEFAULT_PORT = 8080
_MOST_PROCESSES = 512
_OUTPUT = {"Type": "json-file", "Config": {"max-size": "5m", "max-file": "2"}}

# How long a started container may take to show its address, and how long one that is being removed may take to go.
_LOOKS, _LOOK_PAUSE_SECONDS = 100, 0.03
_TAIL_LINES = 20


class DockerPlatform:
    """A region on one engine.

    Args:
        url: of its API, such as `unix:///var/run/docker.sock`.
        network: `bridge`, or the name of a network: each container gets a free port of 127.0.0.1, for as long as
            it exists. `host`: it listens on a free port of this machine, as `PORT` says.
        timeout: longest wait for an answer.
        pull_timeout: longest wait for an image from its registry.
        build_timeout: longest build.
    """

    def __init__(
        self,
        url: str,
        *,
        network: str = "bridge",
        timeout: timedelta = timedelta(seconds=30),
        pull_timeout: timedelta = timedelta(minutes=10),
        build_timeout: timedelta = timedelta(minutes=20),
    ) -> None:
        self._url = url
        self._network = network
        self._timeout = timeout
        self._pull_timeout = pull_timeout
        self._build_timeout = build_timeout
        self._client: aiodocker.Docker | None = None
        self._choosing = asyncio.Lock()

    async def start(self, spec: InstanceSpec, environment: Mapping[str, str]) -> Running | Refused:
        """Run the instance, or find that it runs; an exited one of this id is started again, as it was made.

        A missing image is fetched from its registry. The container gets `environment` and `PORT`.

        Raises:
            PlatformDownError: no answer in time, from the engine or (the message names it) a registry.
        """
        if spec.image is None:
            return Refused(why="There is no image to run. This region runs images, so the deployment needs one.")
        if await self._show(spec.id) is None:
            refused = await self._create(spec, spec.image, environment)
            if refused is not None:
                return refused
        return await self._run(spec.id)

    async def inspect(self, instance: str) -> Found | None:
        """One instance; None when there is none of this id. One that waits for its next start counts as exited.

        Raises:
            PlatformDownError: no answer in time.
        """
        shown = await self._show(instance)
        return _found(shown) if shown is not None and _is_ours(shown) else None

    async def find(self, *, project: str | None = None, deployment: str | None = None) -> Sequence[Found]:
        """Every instance of the project or deployment; without either, all that Lifecycle ever started here.

        Raises:
            PlatformDownError: no answer in time.
        """
        wanted = {_PROJECT: project, _DEPLOYMENT: deployment}
        labels = [_INSTANCE, *(f"{label}={value}" for label, value in wanted.items() if value is not None)]
        async with self._engine() as engine:
            listed = await engine.containers.list(all=True, filters={"label": labels})
        found = [await self._show(container.id) for container in listed]
        return [_found(shown) for shown in found if shown is not None]

    async def logs(self, instance: str, *, lines: int = 100) -> str:
        """The last lines of what it printed; empty when there is none of this id any more.

        Raises:
            PlatformDownError: no answer in time.
        """
        shown = await self._show(instance)
        if shown is None or not _is_ours(shown):
            return ""
        try:
            async with self._engine() as engine:
                container = engine.containers.container(shown["Id"])
                return "".join(await container.log(stdout=True, stderr=True, tail=lines))
        except DockerError as error:
            return _nothing_if_gone(error)

    async def remove(self, instance: str, *, grace: timedelta) -> None:
        """Ask it to end, end it after `grace` (in whole seconds), and remove it with its volumes; absent is fine.

        Raises:
            PlatformDownError: no answer in time.
        """
        shown = await self._show(instance)
        if shown is None or not _is_ours(shown):
            return
        try:
            async with self._engine(within=self._timeout + grace) as engine:
                container = engine.containers.container(shown["Id"])
                await container.stop(t=math.ceil(grace.total_seconds()))
                await container.delete(force=True, v=True)
        except DockerError as error:
            if error.status != HTTPStatus.CONFLICT:  # somebody else removes it at this moment
                _nothing_if_gone(error)
        for _ in range(_LOOKS):
            if await self._show(shown["Id"]) is None:
                return
            await asyncio.sleep(_LOOK_PAUSE_SECONDS)
        raise PlatformDownError(f"the engine at {self._url} does not let go of the container {instance}")

    async def build(self, *, tag: str, source: Path, log: Path) -> Built | Refused:
        """Build the tarball `source`, which has a Dockerfile, and append what is printed to `log`.

        Raises:
            PlatformDownError: no answer in time, from the engine or a registry.
            OSError: `source` cannot be read or `log` not written.
        """
        last_lines: deque[str] = deque(maxlen=_TAIL_LINES)
        with (
            await asyncio.to_thread(source.open, "rb") as tarball,
            await asyncio.to_thread(log.open, "a", encoding="utf-8") as printed,
        ):

            def tell(text: str) -> None:
                printed.write(text)
                last_lines.extend(text.splitlines())

            async with self._engine(within=self._build_timeout) as engine:
                try:
                    await progress.build(engine, tarball, tag=tag, labels={_MANAGED: "true"}, tell=tell)
                except DockerError as error:
                    if verdicts.is_unreachable(error):
                        raise
                    printed.write(f"{error.message}\n")
                    return verdicts.of_build(error, "\n".join(last_lines))
        return Built(image=tag)

    async def close(self) -> None:
        """Let go of connections. Containers go on."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _create(self, spec: InstanceSpec, image: str, environment: Mapping[str, str]) -> Refused | None:
        """Make the container, and fetch its image first when it is missing; none is made where one has its name."""
        async with self._choosing:  # so that two of ours do not choose the same port
            error = await self._try_to_create(spec, environment)
        if error is not None and error.status == HTTPStatus.NOT_FOUND:
            refused = await self._pull(image)
            if refused is not None:
                return refused
            async with self._choosing:
                error = await self._try_to_create(spec, environment)
        return None if error is None or error.status == HTTPStatus.CONFLICT else verdicts.of_create(image, error)

    async def _try_to_create(self, spec: InstanceSpec, environment: Mapping[str, str]) -> DockerError | None:
        published = await self._free_port()
        port = spec.port or _DEFAULT_PORT
        if self._network == _HOST_NETWORK:
            port = published = spec.port or published
        container = _container(spec, environment, port, published, self._network)
        try:
            async with self._engine() as engine:
                await engine.containers.create(container, name=spec.id)
        except DockerError as error:
            return error
        return None

    async def _free_port(self) -> int:
        async with self._engine() as engine:
            listed = await engine.containers.list(all=True, filters={"label": [_INSTANCE]})
        taken = {int(container["Labels"][_PUBLISHED]) for container in listed}
        return await asyncio.to_thread(ports.choose, _HOST, taken=taken)

    async def _pull(self, image: str) -> Refused | None:
        async with self._engine(f"the registry {verdicts.registry(image)}", within=self._pull_timeout) as engine:
            try:
                await progress.pull(engine, image)
            except DockerError as error:
                if verdicts.is_unreachable(error):
                    raise
                return verdicts.of_pull(image, error)
        return None

    async def _run(self, instance: str) -> Running | Refused:
        """Start the container, and wait until its command began and its address is known."""
        address: str | None = None
        is_started = False
        for _ in range(_LOOKS):
            shown = await self._show(instance)
            if shown is not None and not _is_ours(shown):
                return Refused(why=f"A container of somebody else has the name {instance}.")
            if shown is not None and not is_started:
                if already := _address(shown):
                    return Running(address=already)
                refused = await self._try_to_start(shown["Id"])
                if refused is not None:
                    await self.remove(instance, grace=timedelta(0))
                    return refused
                is_started = True
                continue
            if shown is not None:
                address = _address(shown) or address
                refused = await self._exec_failure(shown)
                if refused is not None:
                    await self.remove(instance, grace=timedelta(0))
                    return refused
                if address and (not _runs(shown) or await self._has_begun(shown["Id"])):
                    return Running(address=address)
            await asyncio.sleep(_LOOK_PAUSE_SECONDS)
        raise PlatformDownError(f"the container {instance} did not show its address after its start")

    async def _exec_failure(self, shown: Mapping[str, Any]) -> Refused | None:
        """Why the first process could not run the command, if that is how the container ended."""
        if _runs(shown) or shown["State"]["ExitCode"] not in verdicts.EXEC_FAILURES:
            return None
        said = await self.logs(shown["Id"], lines=1)
        return verdicts.of_exec(shown["Path"], said)

    async def _has_begun(self, container: str) -> bool:
        """Whether the first process runs the command; until then, its child looks the same as itself."""
        async with (
            self._engine() as engine,
            engine.session.get(f"{engine.docker_host}/{engine.api_version}/containers/{container}/top") as answer,
        ):
            if answer.status != HTTPStatus.OK:
                return False
            return len({process[-1] for process in (await answer.json())["Processes"] or ()}) > 1

    async def _try_to_start(self, container: str) -> Refused | None:
        try:
            async with self._engine() as engine:
                await engine.containers.container(container).start()
        except DockerError as error:
            return verdicts.of_start(error)
        return None

    async def _show(self, container: str) -> dict[str, Any] | None:
        """What Docker knows about a container, by name or id."""
        try:
            async with self._engine() as engine:
                return await engine.containers.container(container).show()
        except DockerError as error:
            _nothing_if_gone(error)
            return None

    @asynccontextmanager
    async def _engine(
        self, what: str | None = None, *, within: timedelta | None = None
    ) -> AsyncIterator[aiodocker.Docker]:
        """The API. Outages of it become `PlatformDownError`, and what it refuses stays a `DockerError`."""
        within = within or self._timeout
        if self._client is None:
            self._client = aiodocker.Docker(self._url)
        try:
            async with asyncio.timeout(within.total_seconds()):
                yield self._client
        except TimeoutError as error:
            who = what or f"the engine at {self._url}"
            raise PlatformDownError(f"{who} did not answer within {within.total_seconds():g} s") from error
        except DockerError as error:
            if verdicts.is_outage(error):
                raise PlatformDownError(f"the engine at {self._url} failed: {error.message}") from error
            raise
        except aiohttp.ClientError as error:
            raise PlatformDownError(f"the engine at {self._url} cannot be reached: {error}") from error


def _container(
    spec: InstanceSpec, environment: Mapping[str, str], port: int, published_port: int, network: str
) -> dict[str, Any]:
    """The container of an instance, in the words of Docker's API.

    Its port on this machine is ours to choose: one that Docker chooses is another one after every restart.
    """
    memory = spec.memory_mib * 1024 * 1024
    published = (
        {} if network == _HOST_NETWORK else {f"{port}/tcp": [{"HostIp": _HOST, "HostPort": str(published_port)}]}
    )
    return {
        "Image": spec.image,
        **({"Cmd": list(spec.command)} if spec.command else {}),
        "Env": [f"{name}={value}" for name, value in {**environment, "PORT": str(port)}.items()],
        "Labels": {
            _MANAGED: "true",
            _INSTANCE: spec.id,
            _PROJECT: spec.project,
            _DEPLOYMENT: spec.deployment,
            _PUBLISHED: str(published_port),
        },
        "ExposedPorts": {name: {} for name in published},
        "HostConfig": {
            "NetworkMode": network,
            "PortBindings": published,
            "RestartPolicy": {"Name": "unless-stopped"},
            "Init": True,  # a first process that hands signals on and collects the dead
            "Memory": memory,
            "MemorySwap": memory,  # memory and swap together, so: no swap
            "NanoCpus": spec.cpu_millicores * 1_000_000,
            "PidsLimit": _MOST_PROCESSES,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": _OUTPUT,
        },
    }


def _is_ours(shown: Mapping[str, Any]) -> bool:
    # The marker alone does not say it: containers have the labels of their image, and images that we built are marked.
    return _INSTANCE in (shown["Config"]["Labels"] or {})


def _runs(shown: Mapping[str, Any]) -> bool:
    return bool(shown["State"]["Running"]) and not shown["State"]["Restarting"]


def _address(shown: Mapping[str, Any]) -> str | None:
    """Where a container can be reached; None while it does not run."""
    if not _runs(shown):
        return None
    return f"{_HOST}:{shown['Config']['Labels'][_PUBLISHED]}"


def _found(shown: Mapping[str, Any]) -> Found:
    labels, state = shown["Config"]["Labels"], shown["State"]
    runs = _runs(shown)
    return Found(
        id=labels[_INSTANCE],
        project=labels[_PROJECT],
        deployment=labels[_DEPLOYMENT],
        status=InstanceStatus.RUNNING if runs else InstanceStatus.EXITED,
        address=_address(shown),
        exit_code=None if runs or state["Status"] == "created" else state["ExitCode"],
        restarts=shown["RestartCount"],
    )


def _nothing_if_gone(error: DockerError) -> str:
    """Empty when the error says that the container is not there.

    Raises:
        DockerError: it says something else.
    """
    if error.status != HTTPStatus.NOT_FOUND:
        raise error
    return ""
