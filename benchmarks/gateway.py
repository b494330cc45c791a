"""A switch in the gateway with few and many hosts, and its start. `python benchmarks/gateway.py [--quick]`."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from _lab import others, quantile, verdict
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lifecycle.deploy.gateway import Change, Gateway, Routes, Wanted
from lifecycle.deploy.gateway.runtime import Runtime
from lifecycle.dev import ports
from lifecycle.dev.gateway import HaProxy

_SWITCH_PROMISE_MS = 250  # design, 11: from the call to the first answer, of which this is the gateway's part
_ADDRESSES = ("127.0.0.1:9", "127.0.0.1:10")
_HOST = "h0.example.com"


class Figures(NamedTuple):
    """Of one number of hosts; times in milliseconds."""

    hosts: int
    bare: Sequence[float]
    ours: Sequence[float]
    compare: float
    starts: Sequence[float]
    resident_bytes: int


async def main(*, quick: bool) -> None:
    """Run it and print the table."""
    machine = others()
    switches, starts = (50, 2) if quick else (500, 5)
    folder = Path(tempfile.mkdtemp(prefix="lifecycle-bench-"))
    port = ports.assign(["gateway"], remembered=folder / "ports.json", given={})["gateway"]
    haproxy = HaProxy(folder / "g", port, api_address="127.0.0.1:9", log=folder / "haproxy.log", access_log=False)
    gateway = Gateway(haproxy.folder)
    figures = []
    try:
        with Progress(transient=True, console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=3)
            await haproxy.start()
            for hosts in (1, 1000, 10_000):
                progress.update(task, advance=1, description=f"{hosts} hosts")
                figures.append(await _measure(haproxy, gateway, hosts=hosts, switches=switches, starts=starts))
    finally:
        await gateway.close()
        await haproxy.child.stop()
        shutil.rmtree(folder)
    console = Console(width=max(Console().width, 130))
    console.print(_table(figures, f"{switches} switches each; {machine}"))
    console.print(
        "Milliseconds. Bare: `set map` on HAProxy's socket, a new connection each time. Lifecycle: Gateway.apply of\n"
        "one host, which also writes two files, to the disk, and reads the generation back. Compare: what the\n"
        "database says with files and HAProxy. Start: from the start of HAProxy to its first answer."
    )


async def _measure(haproxy: HaProxy, gateway: Gateway, *, hosts: int, switches: int, starts: int) -> Figures:
    projects = {
        f"prj_{n}": Routes(
            generation=1,
            hosts={f"h{n}.example.com": f"dep_a{n}"},
            targets={f"dep_{name}{n}": (address,) for name, address in zip("ab", _ADDRESSES, strict=True)},
        )
        for n in range(hosts)
    }

    async def read() -> Wanted:
        return wanted

    wanted = Wanted(projects=projects)
    await gateway.synchronise(read)
    begun = time.perf_counter()
    await gateway.compare(read)
    compare = _milliseconds(begun)
    ours, bare = [], []
    for number in range(switches):
        # In turn, so that whatever else the machine does meets both.
        bare.append(await asyncio.to_thread(_bare_switch, haproxy.folder, number))
        begun = time.perf_counter()
        goal = f"dep_{'ab'[number % 2]}0"
        await gateway.apply(Change(project="prj_0", generation=2 + number, hosts={_HOST: goal}))
        ours.append(_milliseconds(begun))
    resident = _resident_bytes(haproxy)
    took = []
    for _ in range(starts):
        await haproxy.child.kill()
        begun = time.perf_counter()
        await haproxy.start_alone()
        took.append(_milliseconds(begun))
    return Figures(hosts, bare, ours, compare, took, resident)


def _bare_switch(folder: Path, number: int) -> float:
    begun = time.perf_counter()
    with Runtime(folder).opened(time.monotonic() + 10) as session:
        session.ask([("set", "map", f"{folder}/hosts.map", _HOST, f"prj_0/dep_{'ba'[number % 2]}0")])
    return _milliseconds(begun)


def _milliseconds(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


def _resident_bytes(haproxy: HaProxy) -> int:
    """Of the master and its worker."""
    master = haproxy.child.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii").split()
    statuses = [Path(f"/proc/{pid}/status").read_text(encoding="ascii") for pid in (master, *children)]
    return sum(
        int(line.split()[1]) * 1024 for status in statuses for line in status.splitlines() if line.startswith("VmRSS")
    )


def _table(figures: Sequence[Figures], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("hosts", justify="right", no_wrap=True)
    for name in ("bare p50", "bare p99", "lifecycle p50", "lifecycle p99", "promise"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("compare", "start, median", "resident MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in figures:
        times = [quantile(values, share) for values in (one.bare, one.ours) for share in (0.5, 0.99)]
        table.add_row(
            f"{one.hosts:,}",
            *(f"{value:.2f}" for value in times),
            verdict(times[-1], at_most=_SWITCH_PROMISE_MS),
            f"{one.compare:.1f}",
            f"{quantile(one.starts, 0.5):.0f}",
            f"{one.resident_bytes / (1 << 20):.0f}",
        )
    return table


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))
