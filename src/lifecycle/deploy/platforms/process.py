"""Instances as local processes: the embedded platform, for `lifecycle dev` and small installs.

Each instance is a session of processes and a folder (`folders.py`), and lives on when the worker that started it ends.
Any worker on this machine that has the same root finds it again. It runs as our user and is not shut in: it can do
what we can do, so this is for commands that are trusted. Of its limits, memory is held for each of its processes
(RLIMIT_DATA); CPU is not. Nothing but `start` starts an ended instance again.
"""

import asyncio
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from lifecycle.deploy.platforms import ports, sessions
from lifecycle.deploy.platforms.folders import Folder, Record
from lifecycle.deploy.platforms.platform import (
    Found,
    InstanceSpec,
    InstanceStatus,
    PlatformDownError,
    Refused,
    Running,
)
from lifecycle.deploy.platforms.sessions import Session

T = TypeVar("T")

_LOCK_PATIENCE_SECONDS = 10.0
_LOCK_PAUSE_SECONDS = 0.01
_END_PAUSE_SECONDS = 0.03
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ProcessPlatform:
    """A region on this machine.

    Args:
        root: folder of its own, absolute; made when it is missing.
        host: address under which the gateway reaches what listens on this machine.
    """

    def __init__(self, root: Path, host: str = "127.0.0.1") -> None:
        self._root = root
        self._host = host

    async def start(self, spec: InstanceSpec, environment: Mapping[str, str]) -> Running | Refused:
        """Run the instance, or find that it runs; an exited one of this id is started again.

        It gets `environment`, `PORT`, and `PATH`, `HOME`, `LANG` and `TMPDIR`; of these four, the given ones win.
        Its output file is cut to 5 MiB, and the same much of what came before is kept. That happens at a start, and
        whenever somebody looks at the instance.

        Raises:
            PlatformDownError: the root cannot be used, or another worker holds it.
            ValueError: the id cannot be the name of a folder.
        """
        return await self._alone(lambda: self._start(spec, self._folder(spec.id), environment))

    async def inspect(self, instance: str) -> Found | None:
        """One instance; None when there is none of this id.

        Raises:
            PlatformDownError: the root cannot be used.
        """
        return await self._away(lambda: self._found(self._folder(instance)))

    async def find(self, *, project: str | None = None, deployment: str | None = None) -> Sequence[Found]:
        """Every instance of the project or deployment; without either, all that Lifecycle ever started here.

        Raises:
            PlatformDownError: the root cannot be used.
        """
        found = await self._away(lambda: [self._found(folder) for folder in self._folders()])
        return [
            one
            for one in found
            if one is not None and project in {None, one.project} and deployment in {None, one.deployment}
        ]

    async def logs(self, instance: str, *, lines: int = 100) -> str:
        """The last lines of what it printed, of at most 2 MiB; empty when there is none of this id any more.

        Raises:
            PlatformDownError: the root cannot be used.
        """
        return await self._away(lambda: self._folder(instance).tail(lines))

    async def remove(self, instance: str, *, grace: timedelta) -> None:
        """Ask its process group to end, kill its session after `grace`, and remove its folder; absent is fine.

        Raises:
            PlatformDownError: the root cannot be used, or the kernel does not let go of a process.
        """
        folder = self._folder(instance)
        if not await self._away(folder.exists):
            return
        record = await self._away(folder.record)
        if record is not None and grace > timedelta(0):
            await self._away(record.session.terminate)
            await self._wait_for_end(record.session, within=grace)
        await self._alone(lambda: _remove(folder))

    async def close(self) -> None:
        """Nothing to let go of; instances go on."""

    def _start(self, spec: InstanceSpec, folder: Folder, environment: Mapping[str, str]) -> Running | Refused:
        former = folder.record()
        if former is not None and former.session.is_led():
            return Running(address=self._address(former.port))
        directory = folder.work if spec.directory is None else Path(spec.directory).absolute()
        variables = {**_basics(), **environment}
        if refused := _refuse(spec, directory, environment):
            return refused
        program = _program(spec.command[0], directory, variables["PATH"])
        if isinstance(program, Refused):
            return program
        if former is not None:
            former.session.kill()  # what an ended command left behind may hold its port
        port = self._port(spec, folder, former)
        if isinstance(port, Refused):
            return port
        folder.prepare()
        try:
            with sessions.begin(
                (program, *spec.command[1:]),
                environment={**variables, "PORT": str(port)},
                directory=directory,
                data_kib=spec.memory_mib * 1024,
                output=folder.output,
                exit_code=folder.exit_file,
            ) as session:
                folder.write(_record(spec, session, port, former))
        except OSError as error:
            if former is None:
                folder.remove()
            if error.errno == errno.E2BIG:
                return Refused(why="The command and its environment variables are longer than this machine allows.")
            raise
        return Running(address=self._address(port))

    def _port(self, spec: InstanceSpec, folder: Folder, former: Record | None) -> int | Refused:
        if spec.port is not None:
            if ports.is_free(self._host, spec.port):
                return spec.port
            return Refused(
                why=f"Port {spec.port} is taken on this machine. Leave the port out, and listen on the one in PORT."
            )
        others = [other.record() for other in self._folders() if other.path != folder.path]
        taken = {other.port for other in others if other is not None}
        return ports.choose(self._host, taken=taken, former=None if former is None else former.port)

    def _found(self, folder: Folder) -> Found | None:
        record = folder.record()
        if record is None:
            return None
        if folder.is_output_long():
            with self._lock() as alone:
                if alone:
                    folder.cut_output()
        runs = record.session.is_led()
        return Found(
            id=record.id,
            project=record.project,
            deployment=record.deployment,
            status=InstanceStatus.RUNNING if runs else InstanceStatus.EXITED,
            address=self._address(record.port) if runs else None,
            exit_code=None if runs else folder.exit_code(),
            restarts=record.restarts,
        )

    def _folder(self, instance: str) -> Folder:
        if not _ID.fullmatch(instance):
            raise ValueError(f"{instance!r} cannot be the name of a folder")
        return Folder(self._root / instance)

    def _folders(self) -> Sequence[Folder]:
        try:
            return [Folder(path) for path in sorted(self._root.iterdir()) if path.is_dir()]
        except FileNotFoundError:
            return []

    def _address(self, port: int) -> str:
        return f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    async def _wait_for_end(self, session: Session, *, within: timedelta) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within.total_seconds()
        while loop.time() < deadline and await self._away(session.is_there):
            await asyncio.sleep(_END_PAUSE_SECONDS)

    async def _alone(self, work: Callable[[], T]) -> T:
        """What `work` gives, while no other worker starts or removes anything in the root.

        The lock is taken and let go in the thread that works, so that whoever stops waiting does not free it early.
        """

        def attempt() -> tuple[T] | None:
            with self._lock() as alone:
                return (work(),) if alone else None

        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LOCK_PATIENCE_SECONDS
        while (done := await self._away(attempt)) is None:
            if loop.time() > deadline:
                raise PlatformDownError(f"{self._root} is held by another worker, which does not let go")
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)
        return done[0]

    async def _away(self, work: Callable[[], T]) -> T:
        """What `work` gives, in another thread."""
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise PlatformDownError(f"{self._root} cannot be used: {error}") from error

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Whether nobody else has the root for the time of the block; the kernel frees it when we die."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alone = False
            else:
                alone = True
            yield alone
        finally:
            os.close(handle)


def _record(spec: InstanceSpec, session: Session, port: int, former: Record | None) -> Record:
    return Record(
        id=spec.id,
        project=spec.project,
        deployment=spec.deployment,
        pid=session.pid,
        born=session.born,
        port=port,
        restarts=0 if former is None else former.restarts + 1,
    )


def _remove(folder: Folder) -> None:
    record = folder.record()
    if record is not None:
        record.session.kill()
    folder.remove()


def _refuse(spec: InstanceSpec, directory: Path, environment: Mapping[str, str]) -> Refused | None:
    if spec.image is not None:
        return Refused(why=f"This region runs commands, not images; it cannot run {spec.image}.")
    if not spec.command or not spec.command[0]:
        return Refused(why="There is no command to run. This region runs commands, so the deployment needs one.")
    if spec.directory is not None and not directory.is_dir():
        missing = "is not a directory" if directory.exists() else "does not exist"
        return Refused(why=f"The working directory {directory} {missing} on the machine of this region.")
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name):
            return Refused(why=f"{name!r} cannot be an environment variable; use letters, digits and underscores.")
        if "\0" in value:
            return Refused(why=f"The environment variable {name} has a null character in it, which no program can get.")
    if any("\0" in part for part in spec.command):
        return Refused(why="The command has a null character in it, which no program can get.")
    return None


def _program(name: str, directory: Path, path: str) -> str | Refused:
    """The absolute path of the program that `name` means, as a shell in `directory` would find it."""
    if "/" in name:
        candidates = [directory / name]
    else:
        candidates = [directory / folder / name for folder in path.split(os.pathsep) if folder]
    files = [candidate for candidate in candidates if candidate.is_file()]
    for file in files:
        if shutil.which(file) is not None:
            return str(file)
    if files:
        return Refused(why=f"The command {name} is not executable: {files[0]} has no permission to be run.")
    where = f"{candidates[0]} is no file" if "/" in name else "it is in no folder of PATH"
    return Refused(why=f"The command {name} was not found: {where}.")


def _basics() -> dict[str, str]:
    """The variables every program needs, as we have them ourselves; none of our settings is among them."""
    return {
        "PATH": os.pathsep.join(os.get_exec_path()),
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "TMPDIR": tempfile.gettempdir(),
    }
