"""What the benchmarks share: private servers, the bare baseline beside them, load, and figures."""

import asyncio
import contextlib
import json
import math
import os
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import aiohttp

from lifecycle import clock, ids
from lifecycle.db import Database
from lifecycle.dev import ports
from lifecycle.dev.process import Child
from lifecycle.dev.servers import answers
from lifecycle.dev.stack import Stack
from lifecycle.engine import Engine
from lifecycle.models import Actor, Role
from lifecycle.scheduler.model import CancelDeletion, Command, CreateProject, ScheduleDeletion

CLIENTS = 32
_HERE = Path(__file__).parent
_PATIENCE = timedelta(minutes=3)
_TICKS = os.sysconf("SC_CLK_TCK")

# Nothing but the numbers of the machine decides: as in production, and not `lifecycle dev`.
_SETTINGS = {"LIFECYCLE_RECONCILER_INTERVAL": "1m"}

_NOW = "@now@"  # the load generator puts the time of sending in its place

Request = tuple[str, str, str | None]


class Target(NamedTuple):
    """A project to act on."""

    id: str
    slug: str


class Load(NamedTuple):
    """What one burst of requests took."""

    seconds: float
    milliseconds: Sequence[float]
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.milliseconds) / self.seconds


class Lab:
    """Servers of our own, and beside them the bare baseline on the same engine."""

    def __init__(self, stack: Stack, folder: Path, bare_port: int) -> None:
        self.stack = stack
        self.bare_url = f"http://127.0.0.1:{bare_port}"
        command = [sys.executable, str(_HERE / "_bare.py"), str(bare_port)]
        self.bare = Child("bare", command, environment={}, log=folder / "bare.log")
        self.db = Database(stack.database.url, size=2, deadline=timedelta(seconds=30))
        self.actor = Actor(workspace="", key="", person="", role=Role.ADMINISTRATOR)

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator[Self]:
        """Start everything in a folder that is gone afterwards."""
        current = asyncio.current_task()
        if current is not None:
            # As Ctrl-C does, so that a run that is stopped leaves nothing behind either.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
        folder = Path(tempfile.mkdtemp(prefix="lifecycle-bench-"))
        stack = Stack(folder / "s", settings=_SETTINGS)
        lab = cls(stack, folder, ports.assign(["bare"], remembered=folder / "ports.json", given={})["bare"])
        try:
            await stack.start()
            await lab._start_bare()
            yield lab
        finally:
            await lab.db.close()
            await stack.stop()
            await lab.bare.stop()
            shutil.rmtree(folder)

    async def _start_bare(self) -> None:
        self.bare.start()
        await self.bare.wait_until(lambda: answers(f"{self.bare_url}/health"), within=_PATIENCE)
        engine = Engine(self.stack.engine.admin_url, timeout=_PATIENCE)
        try:
            await engine.register(self.bare_url)
        finally:
            await engine.close()
        row = await self.db.one("SELECT id, workspace_id, person FROM api_keys")
        if row is None:
            raise RuntimeError("the stack made no key")
        self.actor = Actor(workspace=row["workspace_id"], key=row["id"], person=row["person"], role=Role.ADMINISTRATOR)

    async def load(
        self,
        requests: Sequence[Request],
        *,
        base: str | None = None,
        headers: Mapping[str, str] | None = None,
        clients: int = CLIENTS,
    ) -> Load:
        """Send all requests, to the ingress unless told otherwise, from a process of its own.

        Raises:
            RuntimeError: one of them was not answered, or with an error.
        """
        plan = {
            "base": base or self.stack.engine.ingress_url,
            "headers": {"content-type": "application/json", **(headers or {})},
            "clients": clients,
            "requests": requests,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_HERE / "_load.py"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate(json.dumps(plan).encode())
        answer = json.loads(output)
        if answer["failures"]:
            raise RuntimeError(f"requests failed: {answer['failures']}")
        return Load(answer["seconds"], answer["milliseconds"], answer["cpu_seconds"])

    async def projects(self, number: int) -> list[Target]:
        """Make projects, and wait until the ledger has them."""
        targets = [Target(ids.new("prj"), f"b-{secrets.token_hex(8)}") for _ in range(number)]
        commands = [
            CreateProject(actor=self.actor, now=clock.now(), slug=target.slug, name=target.slug) for target in targets
        ]
        before = await self.audited()
        await self.load(
            [
                _call("ProjectService", target.id, "create", command.model_dump_json())
                for target, command in zip(targets, commands, strict=True)
            ]
        )
        await self.wait_until_audited(before + number)
        return targets

    def schedule(self, target: Target, due_at: datetime | None = None) -> Request:
        """Schedule a deletion, in three days unless told otherwise."""
        command = ScheduleDeletion(
            actor=self.actor,
            now=clock.now(),
            confirm=target.slug,
            reason="benchmark",
            due_at=due_at,
            grace_seconds=timedelta(days=3).total_seconds() if due_at is None else None,
        )
        return _call("ProjectService", target.id, "schedule_deletion", _when_sent(command))

    def cancel(self, target: Target) -> Request:
        """Cancel a deletion."""
        command = CancelDeletion(actor=self.actor, now=clock.now())
        return _call("ProjectService", target.id, "cancel_deletion", _when_sent(command))

    async def audited(self) -> int:
        """How many entries the audit log has."""
        row = await self.db.one("SELECT COUNT(*) AS n FROM audit_log")
        return int(row["n"]) if row else 0

    async def wait_until_audited(self, number: int) -> float:
        """Wait until the audit log has this many entries; returns the seconds that took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while (have := await self.audited()) < number:
            if loop.time() - begun > _PATIENCE.total_seconds():
                raise RuntimeError(f"the ledger has {have} of {number} entries")
            await asyncio.sleep(0.05)
        return loop.time() - begun

    async def actions(self) -> dict[str, int]:
        """How many rows the list of pending actions has, by state."""
        rows = await self.db.all("SELECT state, COUNT(*) AS n FROM pending_actions GROUP BY state")
        return {row["state"]: int(row["n"]) for row in rows}

    async def states(self, key: str) -> dict[str, str]:
        """What every project's object remembers under `key`."""
        engine = Engine(self.stack.engine.admin_url, timeout=_PATIENCE)
        try:
            rows = await engine.query(
                f"SELECT service_key, value_utf8 FROM state WHERE service_name = 'ProjectService' AND key = '{key}'"  # noqa: S608  our own word
            )
        finally:
            await engine.close()
        return {row["service_key"]: row["value_utf8"] for row in rows}

    def authorization(self) -> dict[str, str]:
        """The header of an administrator, for the API."""
        key = (self.stack.root / "api-key").read_text(encoding="utf-8").strip()
        return {"authorization": f"Bearer {key}"}

    async def bare_lateness(self) -> list[float]:
        """Seconds by which each bare delayed call was late, since this was last asked."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.bare_url}/lateness") as response:
            noted: list[float] = await response.json()
            return noted

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time used so far, by server."""
        children = {child.name: child for child in (*self.stack.children, self.bare)}
        return {name: cpu_seconds(child.pid) for name, child in children.items() if child.pid is not None}

    def engine_bytes(self) -> int:
        """Resident memory of the engine."""
        status = Path(f"/proc/{self.stack.engine.child.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def bare_schedule(key: str, due_at: datetime | None = None) -> Request:
    """The same of the bare object."""
    due = None if due_at is None else due_at.isoformat()
    return _call("Bare", key, "schedule", json.dumps({"now": _NOW, "due_at": due}))


def bare_cancel(key: str) -> Request:
    """The same of the bare object."""
    return _call("Bare", key, "cancel", json.dumps({"now": _NOW}))


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, math.ceil(share * len(ranked)) - 1))]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median, and in brackets lowest to highest."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}…{max(values):{form}})"


def verdict(figure: float, *, at_least: float | None = None, at_most: float | None = None) -> str:
    """Whether a promise of the design is kept."""
    kept = (at_least is None or figure >= at_least) and (at_most is None or figure <= at_most)
    bound = f"≥ {at_least:g}" if at_least is not None else f"≤ {at_most:g}"
    return f"{bound} [green]kept[/green]" if kept else f"{bound} [red]missed[/red]"


def others() -> str:
    """How busy the machine was before we came, since a noisy neighbour is part of every figure."""
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start"


def _call(service: str, key: str, handler: str, body: str) -> Request:
    return "POST", f"/restate/call/{service}/{key}/{handler}", body


def _when_sent(command: Command) -> str:
    return command.model_copy(update={"now": _NOW}).model_dump_json(warnings=False)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far; 0 when it is gone."""
    with contextlib.suppress(FileNotFoundError):
        # Behind the name in brackets: user and system time are the 14th and 15th field.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0
