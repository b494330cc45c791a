"""Certificates issued, beside the bare `acme` library at the same Pebble. `python benchmarks/issuance.py [--quick]`.

Ours: from the request to the API until visitors get the certificate. Bare: until it is downloaded, and no more.
"""

import asyncio
import json
import re
import secrets
import shutil
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from _lab import cpu_seconds, others, quantile, spread, verdict
from pydantic import JsonValue
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lifecycle.db import Database
from lifecycle.dev.acme import PebbleOptions
from lifecycle.dev.stack import Stack

_HERE = Path(__file__).parent
_NEWER = _HERE.parent / ".tools" / "pebble" / "usr" / "bin"
_SLOWER, _CPU = 1.5, 1.2
_THREADS = 8
# The gateway has Pebble's port at 127.0.0.1; the bare responder has it here.
_OTHER_HOST = "127.0.0.2"
_PATIENCE_SECONDS = 120
_REQUEST = re.compile(r"-> calling handler\(\)")
_PARTS = {"worker": "worker", "api": "API", "restate-server": "engine", "mariadb": "database", "haproxy": "gateway"}
_OWN = ("worker", "api")
# Pebble says that a client should wait for seconds; both sides would.
_OPTIONS: Mapping[str, JsonValue] = {"retryAfter": {"authz": 0, "order": 0}}


class Size(NamedTuple):
    """How much is measured."""

    singles: int
    bursts: int
    names: int


class Burst(NamedTuple):
    """Some certificates: how long they took, CPU seconds by part, and requests at Pebble."""

    names: int
    seconds: float
    cpu: Mapping[str, float]
    requests: int

    @property
    def own_milliseconds(self) -> float:
        """Processor time for each certificate, of the parts that count."""
        return sum(self.cpu.get(part, 0) for part in (*_OWN, "bare")) * 1000 / self.names


class Site:
    """The servers, and the bare baseline beside them."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, db: Database, bare: asyncio.subprocess.Process):
        self.stack = stack
        self._session = session
        self._db = db
        self._bare = bare
        self._trust = stack.root / "ca-bundle.pem"

    async def ours(self, names: Sequence[str]) -> Burst:
        """Have these names certified by Lifecycle."""
        await self.stack.challenges.tell("set-default-ipv4", ip="127.0.0.1")
        requests, before, begun = self._requests(), self._cpu(), time.perf_counter()
        if len(names) == 1:
            await self._post(f"/v1/certificates/{names[0]}/issue", {"challenge": "http-01"})
        else:
            wanted = [{"domain": name, "challenge": "http-01"} for name in names]
            answer = await self._post("/v1/certificates:issue", {"requests": wanted})
            refused = [one for one in answer["items"] if one["outcome"] != "accepted"]
            if refused:
                raise RuntimeError(f"refused: {refused[:3]}")
        await self._wait("certificates WHERE status = 'served'", names)
        await self._shown(names)
        seconds = time.perf_counter() - begun
        await self._wait(
            "audit_log WHERE action = 'certificate.issued'", names, column="JSON_VALUE(detail, '$.domain')"
        )
        await asyncio.sleep(0.3)  # what follows is part of the price
        after = self._cpu()
        cpu = {part: after[part] - before[part] for part in after}
        return Burst(len(names), seconds, cpu, self._requests() - requests)

    async def bare(self, names: Sequence[str]) -> Burst:
        """Have these names certified by the library alone."""
        await self.stack.challenges.tell("set-default-ipv4", ip=_OTHER_HOST)
        requests = self._requests()
        seconds, used, _ = await _said(self._bare, list(names))
        return Burst(len(names), seconds, {"bare": used}, self._requests() - requests)

    async def _post(self, path: str, body: object) -> Any:
        async with self._session.post(f"{self.stack.api_url}{path}", json=body) as answer:
            if not answer.ok:
                raise RuntimeError(await answer.text())
            return await answer.json()

    async def _wait(self, rows: str, names: Sequence[str], *, column: str = "domain") -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        suffix = names[0].partition(".")[2]
        while True:
            row = await self._db.one(f"SELECT COUNT(*) AS n FROM {rows} AND {column} LIKE %s", f"%.{suffix}")  # noqa: S608
            if row is not None and int(row["n"]) == len(names):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {row} of {len(names)} certificates came")
            await asyncio.sleep(0.005)

    async def _shown(self, names: Sequence[str]) -> None:
        """Wait until HAProxy was told of all, and one of the last shakes hands."""
        list_file = self.stack.root / "gateway" / "certificates.list"
        left = set(names)
        while left:
            last, text = left, list_file.read_text(encoding="utf-8")
            left = {name for name in left if name not in text}
            await asyncio.sleep(0.002)
        while not await self._is_shown(min(last)):
            await asyncio.sleep(0.002)

    async def _is_shown(self, name: str) -> bool:
        context = ssl.create_default_context(cafile=self._trust)
        port = self.stack.ports["gateway_https"]
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        except ssl.SSLError:
            return False
        writer.close()
        return True

    def _requests(self) -> int:
        return len(_REQUEST.findall(self.stack.authority.child.log.read_text(encoding="utf-8", errors="replace")))

    def _cpu(self) -> dict[str, float]:
        return {
            child.name: sum(cpu_seconds(pid) for pid in _family(child.pid))
            for child in self.stack.children
            if child.pid is not None and child.name in _PARTS
        }


async def main(*, quick: bool) -> None:
    """Run it and print the tables."""
    machine = others()
    size = Size(5, 2, 20) if quick else Size(20, 4, 100)
    singles: dict[str, list[Burst]] = {"bare": [], "ours": []}
    bursts: dict[str, list[Burst]] = {"bare": [], "ours": []}
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=size.singles + size.bursts + 1)
        async with _site() as site:
            for measured, count, names in (
                (None, 1, _THREADS),
                (singles, size.singles, 1),
                (bursts, size.bursts, size.names),
            ):
                for number in range(count):
                    progress.update(task, advance=1, description=f"{names} at a time, {number + 1} of {count}")
                    await _round(site, names, measured, ours_first=number % 2 == 1)
    console = Console(width=max(Console().width, 160))
    console.print(_table("One name, HTTP-01", singles, machine))
    console.print(_table(f"{size.names} names at once; bare on {_THREADS} threads", bursts, machine))
    console.print(
        "x: of the same round, median (lowest…highest). Ours ends when visitors are shown the certificate; it is also "
        "stored, sealed, probed, audited, and its renewal is armed.\nCPU ms: per certificate; worker and API are "
        "compared with bare; engine, database and gateway are shown beside. Requests: at Pebble, per certificate; "
        "3 N + 4 are needed, and one for the renewal window."
    )


async def _round(site: Site, names: int, measured: dict[str, list[Burst]] | None, *, ours_first: bool) -> None:
    for who in ("ours", "bare") if ours_first else ("bare", "ours"):
        group = secrets.token_hex(4)
        wanted = [f"n{number}.{group}.test" for number in range(names)]
        burst = await (site.ours(wanted) if who == "ours" else site.bare(wanted))
        if measured is not None:
            measured[who].append(burst)


@asynccontextmanager
async def _site() -> AsyncIterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="lifecycle-bench-"))
    is_newer = (_NEWER / "pebble").exists()
    options = PebbleOptions(
        program=_NEWER / "pebble" if is_newer else None,
        challenge_program=_NEWER / "pebble-challtestsrv" if is_newer else None,
        options=_OPTIONS if is_newer else {},
    )
    stack = Stack(folder / "s", settings={"LIFECYCLE_RECONCILER_INTERVAL": "1m"}, authority=options)
    try:
        ready = await stack.start()
        bare = await _start_bare(stack)
        db = Database(stack.database.url, size=1, deadline=timedelta(seconds=30))
        headers = {"Authorization": f"Bearer {ready['api_key']}"}
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS)
        try:
            async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
                yield Site(stack, session, db, bare)
        finally:
            await db.close()
            bare.kill()
            await bare.wait()
    finally:
        await stack.stop()
        shutil.rmtree(folder)


async def _start_bare(stack: Stack) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_HERE / "_bare_acme.py"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    given = {
        "directory_url": stack.authority.directory_url,
        "trust": str(stack.authority.trust),
        "host": _OTHER_HOST,
        "port": stack.ports["gateway_http"],
        "threads": _THREADS,
    }
    if await _said(process, given) != "ready":
        raise RuntimeError("the baseline did not start")
    return process


async def _said(process: asyncio.subprocess.Process, given: object) -> Any:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the baseline has no pipes")
    process.stdin.write(json.dumps(given).encode() + b"\n")
    return json.loads(await process.stdout.readline())


def _family(pid: int) -> Sequence[int]:
    """A process and its children; the one of HAProxy does all the work."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


def _table(title: str, measured: Mapping[str, Sequence[Burst]], machine: str) -> Table:
    table = Table(title=f"{title}; {machine}", title_justify="left")
    table.add_column("")
    for name in ("ms", "p90 ms", "x bare", "promise", "CPU ms", "x bare", "promise", *_PARTS.values(), "requests"):
        table.add_column(name, justify="right", no_wrap=True)
    for who in ("bare", "ours"):
        bursts = measured[who]
        times = [one.seconds * 1000 for one in bursts]
        own = [one.own_milliseconds for one in bursts]
        slower = [one.seconds / other.seconds for one, other in zip(bursts, measured["bare"], strict=True)]
        # A single certificate takes few ticks of the clock that counts processor time, so the sums are compared.
        costs = sum(own) / sum(one.own_milliseconds for one in measured["bare"])
        parts = [statistics.mean(one.cpu.get(part, 0) * 1000 / one.names for one in bursts) for part in _PARTS]
        is_ours = who == "ours"
        table.add_row(
            who,
            f"{statistics.median(times):.0f}",
            f"{quantile(times, 0.9):.0f}",
            spread(slower) if is_ours else "",
            verdict(statistics.median(slower), at_most=_SLOWER) if is_ours else "",
            f"{statistics.mean(own):.1f}",
            f"{costs:.2f}" if is_ours else "",
            verdict(costs, at_most=_CPU) if is_ours else "",
            *(f"{one:.1f}" if is_ours else "" for one in parts),
            f"{statistics.mean(one.requests / one.names for one in bursts):.2f}",
        )
    return table


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))
