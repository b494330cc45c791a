"""A private Docker engine for one test run, and local images that carry the names of public ones.

Public registries cannot be reached everywhere the tests run. So the images that `Dockerfile` and
`docker-compose.yml` name are made here, from Debian's packages and our npm folder, under the same names.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

from lifecycle.dev.process import Child, StartError
from tests.support.waiting import eventually

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
PYTHON_IMAGE = "python:3.11-slim-bookworm"
MYSQL_IMAGE = "mysql:8.4"
RESTATE_IMAGE = "docker.restate.dev/restatedev/restate:{version}"
OWN_IMAGE = "lifecycle:local"
BUSYBOX_IMAGE = "stand-in/busybox"

_CACHE = REPOSITORY / ".cache" / "docker"
_FOLDER_PREFIX = "lifecycle-docker-"
_CGROUPS = Path("/sys/fs/cgroup")
_INTERFACES = Path("/sys/class/net")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Where this machine's pip and uv find their packages; a build has to know it too.
_REGISTRY_SETTINGS = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


# What the first start of the official mysql image does, in the same order, with MariaDB: a server that listens on
# its socket only is set up from the same variables, and ends; then the real one starts.
_MYSQL_ENTRYPOINT = r"""#!/bin/bash
set -euo pipefail
for name in MYSQL_PASSWORD MYSQL_ROOT_PASSWORD; do
  file="${name}_FILE"
  if [ -n "${!file:-}" ]; then declare "$name=$(<"${!file}")"; fi
done
data=/var/lib/mysql socket=/run/mysqld/mysqld.sock
server=(mariadbd --no-defaults --user=mysql --datadir=$data --socket=$socket "$@")
install -d -o mysql -g mysql $data /run/mysqld
if ! [ -d $data/mysql ]; then
  if [ -z "${MYSQL_ROOT_PASSWORD:-}${MYSQL_RANDOM_ROOT_PASSWORD:-}${MYSQL_ALLOW_EMPTY_PASSWORD:-}" ]; then
    echo "Database is uninitialized and password option is not specified" >&2
    exit 1
  fi
  if [ -n "${MYSQL_RANDOM_ROOT_PASSWORD:-}" ]; then MYSQL_ROOT_PASSWORD=$(head -c 24 /dev/urandom | base64); fi
  mariadb-install-db --no-defaults --user=mysql --datadir=$data --skip-test-db \
    --auth-root-authentication-method=normal >/dev/null
  "${server[@]}" --skip-networking &
  until mysqladmin --socket=$socket --silent ping; do sleep 0.1; done
  {
    echo "DELETE FROM mysql.global_priv WHERE User = '';"
    echo "FLUSH PRIVILEGES;"
    echo "ALTER USER root@localhost IDENTIFIED BY '${MYSQL_ROOT_PASSWORD:-}';"
    if [ "${MYSQL_ROOT_HOST:-%}" != localhost ]; then
      echo "CREATE USER root@'${MYSQL_ROOT_HOST:-%}' IDENTIFIED BY '${MYSQL_ROOT_PASSWORD:-}';"
      echo "GRANT ALL ON *.* TO root@'${MYSQL_ROOT_HOST:-%}' WITH GRANT OPTION;"
    fi
    if [ -n "${MYSQL_DATABASE:-}" ]; then echo "CREATE DATABASE \`$MYSQL_DATABASE\`;"; fi
    if [ -n "${MYSQL_USER:-}" ] && [ -n "${MYSQL_PASSWORD:-}" ]; then
      echo "CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';"
      if [ -n "${MYSQL_DATABASE:-}" ]; then echo "GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';"; fi
    fi
  } | mariadb --socket=$socket
  kill %1
  wait %1
fi
exec "${server[@]}"
"""


class DockerUnavailableError(Exception):
    """No engine can be started here. The message says why."""


class CommandFailedError(Exception):
    """A command ended with another code than 0. The message has its output."""


class Docker:
    """An engine in `root`: a Docker daemon that has process ids and mounts of its own.

    When its first process ends, the kernel ends every container and takes back every mount; and when the tests
    end, however that happens, so does that process.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._bridges: list[Path] = []
        self.environment: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "COMPOSE_"))},
            "DOCKER_HOST": f"unix://{root}/docker.sock",
            "DOCKER_CONFIG": str(root / "config"),
            "DOCKER_BUILDKIT": "0",  # Debian's engine comes without buildx
        }
        command = [
            *(program("unshare"), "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
            program("dockerd"),
            f"--host=unix://{root}/docker.sock",
            f"--data-root={root}/data",
            f"--exec-root={root}/exec",
            f"--pidfile={root}/docker.pid",
            f"--cgroup-parent=/{root.name}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--storage-driver=overlay2",
            # This machine's network settings stay as they are. Ports are published by docker-proxy.
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--userland-proxy=true",
        ]
        self._child = Child("dockerd", command, environment={}, log=root / "dockerd.log")

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            DockerUnavailableError: it does not come up.
        """
        self._child.start()
        try:
            await self._child.wait_until(self._answers, within=timedelta(seconds=60))
        except StartError as error:
            raise DockerUnavailableError(str(error)) from error

    async def stop(self) -> None:
        """Remove its containers and networks, then end it with everything it started."""
        try:
            if self._child.is_running and await self._answers():
                containers = (await self.run("ps", "--all", "--quiet")).split()
                if containers:
                    await self.run("rm", "--force", "--volumes", *containers)
                networks = (await self.run("network", "ls", "--quiet", "--filter=driver=bridge")).split()
                self._bridges = [_INTERFACES / f"br-{network}" for network in networks]
                await self.run("network", "prune", "--force")
        finally:
            await self._child.kill()
            await eventually(self._is_gone, within=20)

    async def run(self, *arguments: str) -> str:
        """The output of `docker …`."""
        return await run(["docker", *arguments], environment=self.environment)

    async def build(self, tag: str, context: Path) -> None:
        """Build an image. What the build downloads comes the way this machine's own downloads come."""
        await self.run("build", "--quiet", "--network=host", f"--tag={tag}", str(context))

    async def _answers(self) -> bool:
        try:
            await self.run("version")
        except CommandFailedError:
            return False
        return True

    def _is_gone(self) -> bool:
        return _without_control_groups(self._root.name) and not any(bridge.exists() for bridge in self._bridges)


class Compose:
    """A compose file on one engine, with a project name and variables of its own."""

    def __init__(self, docker: Docker, *, project: str, variables: Mapping[str, str]) -> None:
        self._project = project
        self._environment = {**docker.environment, **variables}

    async def run(self, *arguments: str) -> str:
        """The output of `docker compose …`."""
        return await run(compose_command("--project-name", self._project, *arguments), environment=self._environment)


def compose_command(*arguments: str, file: Path = COMPOSE_FILE) -> list[str]:
    """`docker compose` with the given file, and without a `.env` that may lie beside it."""
    program = REPOSITORY / ".venv" / "bin" / "docker-compose"
    return [str(program), "--ansi=never", "--progress=plain", "--env-file=/dev/null", f"--file={file}", *arguments]


async def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> str:
    """The output of a command.

    Raises:
        CommandFailedError: it ended with another code than 0.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:  # the test was interrupted
            process.terminate()
            await process.wait()
    if process.returncode != 0:
        said = f"{output.decode(errors='replace')}{errors.decode(errors='replace')}"[-6000:]
        raise CommandFailedError(f"{' '.join(command[:12])} ended with {process.returncode}:\n{said}")
    return output.decode(errors="replace").strip()


@asynccontextmanager
async def engine() -> AsyncIterator[Docker]:
    """A running engine, and after the block nothing of it.

    Raises:
        DockerUnavailableError: it cannot run here.
    """
    if os.geteuid() != 0:
        raise DockerUnavailableError("a private Docker engine can be started by root only")
    for name in ("unshare", "dockerd", "docker"):
        program(name)
    for former in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        await _remove_abandoned(former)
    # Not pytest's tmp_path: the path of a Unix socket may have 108 characters at most.
    root = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
    try:
        with (root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            docker = Docker(root)
            try:
                await docker.start()
                yield docker
            finally:
                await docker.stop()
    finally:
        shutil.rmtree(root)


async def make_images(docker: Docker) -> None:
    """Make the stand-ins for all public images, and Lifecycle's own image from the committed Dockerfile."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_make_own_image(docker))
        group.create_task(_make_server_images(docker))


async def make_busybox_image(docker: Docker) -> None:
    """Make the smallest image with a shell and a web server, in seconds."""
    dockerfile = ["FROM scratch", "COPY busybox /bin/", 'RUN ["/bin/busybox", "--install", "/bin"]', 'CMD ["sh"]']
    with _context(dockerfile, {"busybox": Path(program("busybox"))}) as context:
        await docker.build(BUSYBOX_IMAGE, context)


async def _make_own_image(docker: Docker) -> None:
    await docker.run("import", str(await _debian("python3", "python3-venv")), "stand-in/python")
    registry = {name: os.environ[name] for name in _REGISTRY_SETTINGS if name in os.environ}
    dockerfile = [
        "FROM stand-in/python",
        f"COPY certificates {_CERTIFICATES}",
        f"ENV SSL_CERT_FILE={_CERTIFICATES} PIP_CERT={_CERTIFICATES}",
        *(f"ENV {name}={value}" for name, value in registry.items()),
    ]
    with _context(dockerfile, {"certificates": _CERTIFICATES}) as context:
        await docker.build(PYTHON_IMAGE, context)
    await docker.build(OWN_IMAGE, REPOSITORY)


async def _make_server_images(docker: Docker) -> None:
    debian = await _debian("mariadb-server-core", "mariadb-client", "curl")
    await docker.run("import", str(debian), "stand-in/servers")
    dockerfile = [
        "FROM stand-in/servers",
        "RUN useradd --system mysql",
        "COPY entrypoint /",
        "VOLUME /var/lib/mysql",
        'ENTRYPOINT ["/entrypoint"]',
    ]
    with _context(dockerfile, {"entrypoint": _MYSQL_ENTRYPOINT}) as context:
        await docker.build(MYSQL_IMAGE, context)
    dockerfile = [
        "FROM stand-in/servers",
        "COPY restate-server /usr/local/bin/",
        "WORKDIR /",
        'ENTRYPOINT ["/usr/local/bin/restate-server"]',
    ]
    with _context(dockerfile, {"restate-server": _restate_server()}) as context:
        await docker.build(RESTATE_IMAGE.format(version=restate_version()), context)


def restate_version() -> str:
    """The version of restate-server that `tools/package.json` pins."""
    pinned = json.loads((REPOSITORY / "tools" / "package.json").read_text(encoding="utf-8"))
    version: str = pinned["dependencies"]["@restatedev/restate-server"]
    return version


def _restate_server() -> Path:
    found = list((REPOSITORY / "tools" / "node_modules" / "@restatedev").glob("restate-server-linux-*/bin/*"))
    assert found, "restate-server is not installed; run scripts/setup"
    return found[0]


async def _debian(*packages: str) -> Path:
    """An archive with a small Debian and these packages, made once and kept in `.cache/`."""
    options = (
        "--variant=minbase",
        f"--include={','.join((*packages, 'ca-certificates'))}",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
    )
    digest = hashlib.sha256("\n".join(options).encode()).hexdigest()[:12]
    archive = _CACHE / f"bookworm-{packages[0]}-{digest}.tar"
    if not archive.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            part = Path(scratch) / "debian.tar"
            await run([program("mmdebstrap"), *options, "bookworm", str(part)])
            part.rename(archive)
    return archive


@contextmanager
def _context(dockerfile: Sequence[str], files: Mapping[str, Path | str]) -> Iterator[Path]:
    """A folder to build an image from; files are given by their text, or by where they are."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Dockerfile").write_text("\n".join(dockerfile) + "\n", encoding="utf-8")
        for target, source in files.items():
            if isinstance(source, Path):
                shutil.copy(source, folder / target)
            else:
                (folder / target).write_text(source, encoding="utf-8")
                (folder / target).chmod(0o755)
        yield folder


async def _remove_abandoned(folder: Path) -> None:
    """Remove what is left of an engine whose tests were killed. One that is in use stays."""
    lock = folder / "lock"
    if not lock.exists():
        return
    with lock.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        networks = folder / "data" / "network" / "files" / "local-kv.db"
        for bridge in set(re.findall(rb"br-[0-9a-f]{12}", networks.read_bytes() if networks.exists() else b"")):
            if (_INTERFACES / bridge.decode()).exists() and shutil.which("ip"):
                await run(["ip", "link", "delete", bridge.decode()])
        _without_control_groups(folder.name)
        shutil.rmtree(folder)


def _without_control_groups(name: str) -> bool:
    """Remove the control groups of an engine; False as long as a process is in one of them."""
    for group in (*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")):
        try:
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()
        except OSError:
            return False
    return True


def program(name: str) -> str:
    """Where a program is.

    Raises:
        DockerUnavailableError: it is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise DockerUnavailableError(f"{name} is not installed; run 'scripts/setup --tests'")
    return found
