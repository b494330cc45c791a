"""Sessions of processes on this machine: begin one, see how it is, end it. Linux, as `/proc` shows it.

A command runs below a shell that leads the session. The shell does nothing but wait, and writes down the exit code of
the command, so that the code is known even when whoever began the session is gone.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

# The shell waits until it is told to go on; when whoever began it dies before that, it ends without a trace.
# A caught signal, other than an ignored one, has its usual effect in the command. `ulimit -d` is RLIMIT_DATA.
_LEADER = """
trap : HUP INT QUIT TERM USR1 USR2
read -r LIFECYCLE_GO || exit 125
unset LIFECYCLE_GO
ulimit -d "$1"
cd -- "$2" || exit 125
unset OLDPWD
shift 2
"$@" </dev/null
echo "$?" >"$0"
"""
# Python ignores these; a program expects their usual effect.
_USUAL = (signal.SIGPIPE, signal.SIGXFSZ)
_KILL_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.01
_PROC = Path("/proc")


class Session(NamedTuple):
    """A session, told apart from a later one that got the same number.

    Attributes:
        pid: the process that leads it.
        born: when that process started: the boot of this machine, and clock ticks since then.
    """

    pid: int
    born: str

    def is_led(self) -> bool:
        """Whether its leader is there, and so the command."""
        leader = _look(self.pid)
        return leader is not None and leader.born == self.born and leader.is_alive()

    def is_there(self) -> bool:
        """Whether anything of it is there: its leader, or what the command left behind."""
        return self.is_led() or any(self._members())

    def terminate(self) -> None:
        """Ask its command to end (SIGTERM to the process group)."""
        if self.is_there():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End everything in it (SIGKILL), and return when nothing is left.

        Raises:
            TimeoutError: the kernel does not let go of a process.
        """
        deadline = time.monotonic() + _KILL_PATIENCE_SECONDS
        while members := list(self._members()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes do not end: {members}")
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_PAUSE_SECONDS)

    def _members(self) -> Iterator[int]:
        leader = _look(self.pid)
        if leader is not None and leader.born != self.born:
            return  # the number went to another process, which the kernel does only when the session is empty
        boot, _, ticks = self.born.partition(":")
        if boot != _boot():
            return
        for entry in _PROC.iterdir():
            if not entry.name.isdecimal():
                continue
            process = _look(int(entry.name))
            if process is None or process.session != self.pid or process.ticks < int(ticks):
                continue
            if process.is_alive():
                yield process.pid


@contextmanager
def begin(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    data_kib: int,
    output: Path,
    exit_code: Path,
) -> Iterator[Session]:
    """Begin a session that runs `command` as soon as the block ends; it never runs when the block fails.

    Args:
        command: program, with its absolute path, and arguments.
        environment: all of its environment.
        directory: its working directory, absolute.
        data_kib: most memory that each of its processes may write to (RLIMIT_DATA), in KiB.
        output: file that its output and errors are appended to.
        exit_code: file, absolute, that gets its exit code; 128 and the number of a signal that ended it.

    Raises:
        OSError: it cannot be started.
    """
    waiting, go = os.pipe()
    try:
        try:
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", _LEADER, str(exit_code), str(data_kib), str(directory), *command],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, waiting, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_USUAL,
            )
        finally:
            os.close(waiting)
        leader = _look(pid)
        if leader is None:
            raise ProcessLookupError("the session ended while it began")
        yield Session(pid, leader.born)
        with suppress(BrokenPipeError):
            os.write(go, b"go\n")
    finally:
        os.close(go)


class _Process(NamedTuple):
    """What `/proc` says about a process."""

    pid: int
    state: str
    parent: int
    session: int
    ticks: int

    @property
    def born(self) -> str:
        """When it started, also across boots."""
        return f"{_boot()}:{self.ticks}"

    def is_alive(self) -> bool:
        """Whether it has not ended. An ended child of ours is taken off the kernel's hands."""
        if self.state not in "ZX":
            return True
        if self.parent == os.getpid():
            with suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        return False


def _look(pid: int) -> _Process | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name of a program, in parentheses, may hold anything; see proc(5) for the fields behind it.
    fields = text.rpartition(")")[2].split()
    return _Process(pid=pid, state=fields[0], parent=int(fields[1]), session=int(fields[3]), ticks=int(fields[19]))


@cache
def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
