"""The gateway's folder: one writer at a time, and files that are never half written."""

import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lifecycle.deploy.gateway import maps
from lifecycle.deploy.gateway.pools import Pools

_POOLS = "pools.cfg"
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+-]+")


class BusyError(Exception):
    """Somebody else kept the folder's lock for too long."""


class Folder:
    """What HAProxy reads when it starts.

    Args:
        path: absolute; without characters that mean something to HAProxy, and short, since the path of a socket in
            it may have some 90 characters.
        pools: how many pools there are at first.
        slots: how many servers each has at first.

    Raises:
        ValueError: the path has other characters.
    """

    def __init__(self, path: Path, *, pools: int, slots: int) -> None:
        if not _PLAIN_PATH.fullmatch(str(path)):
            raise ValueError(f"{path} is not an absolute path of letters, digits and _ . / + -")
        self.path = path
        self._pools = pools
        self._slots = slots

    @contextmanager
    def locked(self, deadline: float) -> Iterator[None]:
        """Keep everybody else from writing, also other processes on this machine.

        Args:
            deadline: by `time.monotonic()`.

        Raises:
            BusyError: the lock was not to be had in time.
        """
        handle = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # In small steps and not blocking, because a blocked thread cannot be told to give up.
            while not _lock(handle):
                if time.monotonic() > deadline:
                    raise BusyError(f"another process has kept {self.path}/lock for too long")
                time.sleep(0.001)
            yield
        finally:
            os.close(handle)

    def map_path(self, table: str) -> str:
        """The file of a map, which is also its name in HAProxy."""
        return f"{self.path}/{table}.map"

    def read(self, table: str) -> str:
        """The text of a map; of one that is not there, an empty one."""
        return maps.whole(text_of(Path(self.map_path(table))))

    def read_pools(self) -> Pools:
        """How many pools there are, without who has them."""
        return Pools.parse(text_of(self.path / _POOLS), count=self._pools, slots=self._slots)

    def write(self, texts: Mapping[str, str], pools: Pools | None, targets: Mapping[str, str]) -> None:
        """Write these files; on return they survive a loss of power.

        Args:
            texts: of maps, by table.
            pools: None leaves pools.cfg as it is.
            targets: the values of targets.map by deployment, for pools.cfg.
        """
        # A host that is on disk leads to a deployment that is on disk; the generation says that the rest is there.
        order = sorted(texts, key=(maps.TARGETS, maps.HOSTS, maps.GENERATIONS).index)
        new = {Path(self.map_path(table)): texts[table] for table in order}
        if pools is not None and not self.has_pools(pools, targets):
            new[self.path / _POOLS] = self._render(pools, targets)
        for path, text in new.items():
            replace(path, text)
        if new:
            settle(self.path)

    def has_pools(self, pools: Pools, targets: Mapping[str, str]) -> bool:
        """Whether pools.cfg is as it would be written."""
        return text_of(self.path / _POOLS) == self._render(pools, targets)

    def add_missing(self) -> None:
        """Make the files that are not there, without routes; under the lock."""
        texts = {table: maps.render({}) for table in maps.TABLES if not Path(self.map_path(table)).exists()}
        pools = None if (self.path / _POOLS).exists() else self.read_pools()
        targets = maps.parse(self.read(maps.TARGETS))
        if pools is not None:
            pools.claim(targets)
        self.write(texts, pools, targets)

    def _render(self, pools: Pools, targets: Mapping[str, str]) -> str:
        return pools.render(targets, page=f"{self.path}/pages/unavailable.html")


def replace(path: Path, text: str, *, mode: int | None = None) -> None:
    """Put a whole new file in the place of an old one.

    Args:
        path: of both.
        text: all of it.
        mode: its permissions, from its first byte on; None for the usual ones.
    """
    part = path.with_name(f"{path.name}.part")
    if mode is not None:
        part.unlink(missing_ok=True)
        part.touch(mode=mode)
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def text_of(path: Path) -> str:
    """The text of a file; of one that is not there, an empty one."""
    # Whatever somebody wrote into a file by hand is read as something, and then mended.
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def settle(folder: Path) -> None:
    """Let the names of new files survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
