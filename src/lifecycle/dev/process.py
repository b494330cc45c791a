"""Runs a program as a child that cannot outlive us."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2): the signal this process gets when its parent dies
_STOP_PATIENCE = timedelta(seconds=8)


class StartError(Exception):
    """A server did not come up. The message names its log."""


def chosen(names: Collection[str]) -> Mapping[str, str]:
    """Those of the named environment variables that are set here, and so are meant for our children."""
    return {name: os.environ[name] for name in names if os.environ.get(name)}


class Child:
    """One program, its log and its process.

    Args:
        name: as people see it.
        command: program and arguments.
        environment: added to ours, without our LIFECYCLE_ and RESTATE_ variables.
        log: file that its output is appended to.
    """

    def __init__(self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LIFECYCLE_", "RESTATE_"))}
        self._environment = {**inherited, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None when it does not run."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches only us."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509  one system call; nothing that can deadlock
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it; nothing happens when it does not run."""
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    async def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        self.signal(signal.SIGTERM)
        if not await self._ended(_STOP_PATIENCE):
            await self.kill()
        self._process = None

    async def kill(self) -> None:
        """End it at once (SIGKILL), and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self._ended(_STOP_PATIENCE)

    async def wait_until(self, ready: Callable[[], Awaitable[bool]], *, within: timedelta) -> None:
        """Return when `ready` answers True.

        Raises:
            StartError: it ended, or was not ready in time.
        """
        deadline = asyncio.get_running_loop().time() + within.total_seconds()
        while not await ready():
            if not self.is_running:
                raise StartError(f"{self.name} ended while it started; its log is {self.log}:\n{self.tail()}")
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(
                    f"{self.name} was not ready within {within.total_seconds():.0f} s; "
                    f"its log is {self.log}:\n{self.tail()}"
                )
            await asyncio.sleep(0.05)

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    async def _ended(self, within: timedelta) -> bool:
        deadline = asyncio.get_running_loop().time() + within.total_seconds()
        while self.is_running and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        return not self.is_running


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask
