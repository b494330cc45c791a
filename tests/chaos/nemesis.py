"""A stack of one's own, and what can be done to it."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp

import lifecycle
from lifecycle.dev import ports, servers
from lifecycle.dev.process import Child
from lifecycle.dev.stack import Stack
from lifecycle.engine import Engine

# A change that makes the code another release which does the same.
NO_OTHER_MEANING = ("clock.py", '"""The wall clock', '"""Another release. The wall clock')

Part = servers.Engine | servers.MariaDb | servers.Own

ALWAYS_REPLAY = {"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"}


@asynccontextmanager
async def private_stack(
    *, engine_environment: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """A stack whose servers may be killed; stopped and removed whatever happens."""
    # Not pytest's tmp_path: the path of a Unix socket may have 108 characters at most.
    root = Path(tempfile.mkdtemp(prefix="lifecycle-chaos-"))
    stack = Stack(
        root / "s",
        engine_environment=engine_environment,
        settings={"LIFECYCLE_RECONCILER_INTERVAL": "1s", **(settings or {})},
    )
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
async def frozen(child: Child) -> AsyncIterator[None]:
    """SIGSTOP for the time of the block: the process is there, keeps its connections, and says nothing."""
    child.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.signal(signal.SIGCONT)


@asynccontextmanager
async def down(victim: Part) -> AsyncIterator[None]:
    """Killed for the time of the block, started again after it."""
    await victim.child.kill()
    try:
        yield
    finally:
        await victim.start()


@asynccontextmanager
async def other_worker(stack: Stack, *, change: tuple[str, str, str]) -> AsyncIterator[Child]:
    """A second worker of another release, registered as the newest.

    Args:
        stack: whose engine and database it uses.
        change: what makes its code another: file in the package, text, and the text in its place.
    """
    name, old, new = change
    with tempfile.TemporaryDirectory(prefix="lifecycle-release-") as folder:
        shutil.copytree(Path(lifecycle.__file__).parent, Path(folder) / "lifecycle")
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


async def cancel_all_timers(stack: Stack) -> int:
    """What a hasty operator does: cancel every delayed call through the engine's admin port. Says how many."""
    async with admin(stack) as engine, aiohttp.ClientSession() as session:
        timers = await engine.query("SELECT id FROM sys_invocation WHERE status = 'scheduled'")
        for timer in timers:
            url = f"{stack.engine.admin_url}/invocations/{timer['id']}/cancel"
            async with session.patch(url) as answer:
                assert answer.status in (200, 202, 404, 409), await answer.text()
    return len(timers)


async def _is_newest(stack: Stack, url: str) -> bool:
    """Whether new calls go to the worker at `url`: its services have the highest revision."""
    async with admin(stack) as engine:
        newest = max(await engine.deployments(), key=lambda deployment: deployment.services["ProjectService"])
    return newest.uri.startswith(url)


def part(stack: Stack, name: str) -> Part:
    """The server of this name."""
    parts: Mapping[str, Part] = {"worker": stack.worker, "engine": stack.engine, "database": stack.database}
    return parts[name]
