"""A stack of one's own, and what can be done to it."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp

import lifecycle
from lifecycle.db import Database
from lifecycle.dev import ports, servers
from lifecycle.dev.process import Child
from lifecycle.dev.stack import Stack
from lifecycle.engine import Engine
from tests.chaos.proxy import Proxy

# What the engine has switched off by default and may switch on for everybody some day: virtual queues, and cancelled
# calls that stay visible. Their names are in `restate-server --dump-config`, `GET /version` lists what is on.
EXPERIMENTAL = {
    "RESTATE_EXPERIMENTAL_ENABLE_VQUEUES": "true",
    "RESTATE_EXPERIMENTAL_ENABLE_PREFLIGHT_INVOCATION_TERMINATION_RETENTION": "true",
}

# A change that makes the code another release which does the same.
NO_OTHER_MEANING = ("clock.py", '"""The wall clock', '"""Another release. The wall clock')

_ADDRESS_OF = {"worker": "LIFECYCLE_WORKER_PUBLIC_URL", "restate_ingress": "LIFECYCLE_RESTATE_INGRESS_URL"}

Part = servers.Engine | servers.MariaDb | servers.Own

ALWAYS_REPLAY = {"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"}


@asynccontextmanager
async def private_stack(
    *,
    engine_environment: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    wire: tuple[str, Proxy] | None = None,
) -> AsyncIterator[Stack]:
    """A stack whose servers may be killed; stopped and removed whatever happens.

    Args:
        engine_environment: further settings of the engine.
        settings: further settings of Lifecycle.
        wire: what stands between: in front of the `worker`, or of the `restate_ingress`.
    """
    # Not pytest's tmp_path: the path of a Unix socket may have 108 characters at most.
    root = Path(tempfile.mkdtemp(prefix="lifecycle-chaos-"))
    through = {} if wire is None else {_ADDRESS_OF[wire[0]]: wire[1].url}
    stack = Stack(
        root / "s",
        engine_environment=engine_environment,
        settings={"LIFECYCLE_RECONCILER_INTERVAL": "1s", **through, **(settings or {})},
    )
    if wire is not None:
        wire[1].target = stack.ports[wire[0]]
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()
        shutil.rmtree(root)


async def kill(*parts: Part, down_seconds: float) -> None:
    """SIGKILL, some seconds of silence, and a fresh start; several parts at the same time."""
    for part in parts:
        await part.child.kill()
    await asyncio.sleep(down_seconds)
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(part.start())


@asynccontextmanager
async def down(victim: Part) -> AsyncIterator[None]:
    """Killed for the time of the block, started again after it."""
    await victim.child.kill()
    try:
        yield
    finally:
        await victim.start()


@asynccontextmanager
async def without_table(stack: Stack, table: str) -> AsyncIterator[None]:
    """A table is away for the time of the block, so that what needs it stands still in the middle."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=30))
    try:
        await db.execute(f"RENAME TABLE {table} TO {table}_away")
        try:
            yield
        finally:
            await db.execute(f"RENAME TABLE {table}_away TO {table}")
    finally:
        await db.close()


@asynccontextmanager
async def other_worker(stack: Stack, *changes: tuple[str, str, str]) -> AsyncIterator[Child]:
    """A second worker of another release, registered as the newest.

    Args:
        stack: whose engine and database it uses.
        changes: what makes its code another: file in the package, text, and the text in its place.
    """
    with tempfile.TemporaryDirectory(prefix="lifecycle-release-") as folder:
        shutil.copytree(Path(lifecycle.__file__).parent, Path(folder) / "lifecycle")
        for name, old, new in changes:
            file = Path(folder) / "lifecycle" / name
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new))
        port = ports.assign(("worker",), remembered=Path(folder) / "port.json", given={})["worker"]
        url = f"http://127.0.0.1:{port}"
        environment = {
            **stack.environment,
            "PYTHONPATH": folder,
            "LIFECYCLE_WORKER_PORT": str(port),
            "LIFECYCLE_WORKER_PUBLIC_URL": url,
        }
        command = [sys.executable, "-m", "lifecycle", "worker"]
        child = Child("other-worker", command, environment=environment, log=stack.root / "logs" / "other-worker.log")
        child.start()
        try:
            await child.wait_until(lambda: _is_newest(stack, url), within=timedelta(seconds=30))
            yield child
        finally:
            await child.stop()


@asynccontextmanager
async def admin(stack: Stack) -> AsyncIterator[Engine]:
    """The engine's admin API."""
    engine = Engine(stack.engine.admin_url, timeout=timedelta(seconds=5))
    try:
        yield engine
    finally:
        await engine.close()


async def count(stack: Stack, where: str) -> int:
    """How many invocations match."""
    async with admin(stack) as engine:
        return int((await engine.query(f"SELECT COUNT(*) AS n FROM sys_invocation WHERE {where}"))[0]["n"])


async def to_all(stack: Stack, verb: str, where: str) -> int:
    """What an operator does at the engine's admin port: `verb` to every invocation that matches. Says to how many."""
    async with admin(stack) as engine, aiohttp.ClientSession() as session:
        found = await engine.query(f"SELECT id FROM sys_invocation WHERE {where}")
        for invocation in found:
            async with session.patch(f"{stack.engine.admin_url}/invocations/{invocation['id']}/{verb}") as answer:
                assert answer.status in (200, 202, 404, 409), await answer.text()
    return len(found)


async def _is_newest(stack: Stack, url: str) -> bool:
    """Whether new calls go to the worker at `url`: its services have the highest revision."""
    async with admin(stack) as engine:
        newest = max(await engine.deployments(), key=lambda deployment: deployment.services["ProjectService"])
    return newest.uri.startswith(url)


def part(stack: Stack, name: str) -> Part:
    """The server of this name."""
    parts: Mapping[str, Part] = {"worker": stack.worker, "engine": stack.engine, "database": stack.database}
    return parts[name]
