"""The real servers: how each is found, started and known to be ready. All listen on loopback only."""

import asyncio
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import aiohttp

from lifecycle.db import Database, DatabaseDownError
from lifecycle.dev.process import Child, StartError

_HOST = "127.0.0.1"
_START = timedelta(seconds=60)
_PARTITIONS = 4  # enough for two cores; the engine's default of 24 is slower there


class MissingProgramError(Exception):
    """A server is not installed. The message says how to get it."""


class Engine:
    """A private restate-server.

    Args:
        root: its folder; data, and nothing else.
        ports: `restate_ingress`, `restate_admin`, `restate_node`.
        log: its log file.
        identity_key: PEM file with the key it signs its requests with.
        extra: further environment variables, for tests.
    """

    def __init__(
        self,
        root: Path,
        ports: Mapping[str, int],
        *,
        log: Path,
        identity_key: Path,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self._root = root
        self.ingress_url = f"http://{_HOST}:{ports['restate_ingress']}"
        self.admin_url = f"http://{_HOST}:{ports['restate_admin']}"
        environment = {
            "TMPDIR": str(root / "tmp"),  # what a killed engine leaves there goes with the folder
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_ADDRESS": f"{_HOST}:{ports['restate_node']}",
            "RESTATE_INGRESS__BIND_ADDRESS": f"{_HOST}:{ports['restate_ingress']}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"{_HOST}:{ports['restate_admin']}",
            "RESTATE_NODE_NAME": "dev",
            "RESTATE_CLUSTER_NAME": "lifecycle-dev",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_DEFAULT_NUM_PARTITIONS": str(_PARTITIONS),
            "RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE": "256MiB",
            "RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE": str(identity_key),
            "RESTATE_LOG_DISABLE_ANSI_CODES": "true",
            **(extra or {}),
        }
        command = [str(_restate_server()), "--no-logo", "--base-dir", str(root)]
        self.child = Child("restate-server", command, environment=environment, log=log)

    async def start(self) -> None:
        """Start it and wait until both its ports answer."""
        (self._root / "tmp").mkdir(parents=True, exist_ok=True)
        self.child.start()
        await self.child.wait_until(self.is_ready, within=_START)

    async def is_ready(self) -> bool:
        """Whether ingress and admin answer."""
        return await answers(f"{self.admin_url}/health") and await answers(f"{self.ingress_url}/restate/health")


class MariaDb:
    """A private MariaDB server with one database and one user, both called lifecycle.

    Args:
        root: its folder, data and socket; the path must be short, for the socket's sake.
        port: TCP port on loopback.
        password: of the user.
        log: its log file.
        extra: further arguments, for tests.
    """

    def __init__(self, root: Path, port: int, *, password: str, log: Path, extra: Sequence[str] = ()) -> None:
        self.url = f"mysql://lifecycle:{password}@{_HOST}:{port}/lifecycle"
        self._root = root
        self._password = password
        command = [
            _program("mariadbd"),
            "--no-defaults",
            *_as_root(),
            f"--datadir={root}/data",
            f"--tmpdir={root}/temporary",  # a server that starts removes the temporary tables of others in a shared one
            f"--socket={root}/db.sock",
            f"--pid-file={root}/db.pid",
            f"--bind-address={_HOST}",
            f"--port={port}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_bin",
            "--innodb-buffer-pool-size=128M",
            "--innodb-log-file-size=32M",
            "--performance-schema=OFF",
            "--max-connections=200",
            f"--init-file={root}/init.sql",
            *extra,
        ]
        self.child = Child("mariadb", command, environment={}, log=log)

    async def start(self) -> None:
        """Create the data directory unless it is there, start, and wait until a query is answered."""
        (self._root / "temporary").mkdir(parents=True, exist_ok=True)
        if not (self._root / "data" / "mysql").exists():
            await asyncio.to_thread(self._install)
        self.child.start()
        await self.child.wait_until(self.is_ready, within=_START)

    async def is_ready(self) -> bool:
        """Whether it answers a query."""
        db = Database(self.url, size=1, deadline=timedelta(seconds=2))
        try:
            await db.one("SELECT 1")
        except DatabaseDownError:
            return False
        finally:
            await db.close()
        return True

    def _install(self) -> None:
        shutil.rmtree(self._root / "data", ignore_errors=True)
        # One statement a line. Anonymous users would shadow ours on loopback.
        statements = (
            "DELETE FROM mysql.global_priv WHERE User = ''",
            "FLUSH PRIVILEGES",
            "CREATE DATABASE IF NOT EXISTS lifecycle CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            f"CREATE OR REPLACE USER lifecycle@'{_HOST}' IDENTIFIED BY '{self._password}'",
            f"GRANT ALL ON lifecycle.* TO lifecycle@'{_HOST}'",
        )
        (self._root / "init.sql").write_text("".join(f"{one};\n" for one in statements), encoding="utf-8")
        (self._root / "init.sql").chmod(0o600)
        done = subprocess.run(
            [
                _program("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self._root}/data",
                f"--tmpdir={self._root}/temporary",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                *_as_root(),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StartError(f"mariadb-install-db failed: {done.stdout}{done.stderr}")


class Own:
    """One of our own processes, `lifecycle worker` or `lifecycle api`.

    Args:
        role: `worker` or `api`.
        url: where it answers.
        health: path that answers once it is up.
        environment: its settings.
        log: its log file.
    """

    def __init__(self, role: str, *, url: str, health: str, environment: Mapping[str, str], log: Path) -> None:
        self._health = f"{url}{health}"
        command = [sys.executable, "-m", "lifecycle", role]
        self.child = Child(role, command, environment=environment, log=log)

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self.child.start()
        await self.child.wait_until(self.is_ready, within=_START)

    async def is_ready(self) -> bool:
        """Whether it answers."""
        return await answers(self._health)


async def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with success, within two seconds."""
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return response.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


def _restate_server() -> Path:
    """The engine's binary: of `tools/` in this folder or one above, else on the PATH."""
    system = "darwin" if sys.platform == "darwin" else "linux"
    machine = {"x86_64": "x64", "amd64": "x64"}.get(platform.machine().lower(), "arm64")
    inside = f"tools/node_modules/@restatedev/restate-server-{system}-{machine}/bin/restate-server"
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).parents):
        if (folder / inside).exists():
            return folder / inside
    return Path(_program("restate-server"))


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise MissingProgramError(f"{name} is not installed; run 'make setup', which installs what is missing")
    return found


def _as_root() -> list[str]:
    # MariaDB refuses root unless told. It stays root here, and does not become `mysql`, because a change of
    # user would undo the promise that it ends with us.
    return ["--user=root"] if os.geteuid() == 0 else []
