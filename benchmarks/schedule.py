"""Schedules and cancels per second, beside a bare Restate object. `python benchmarks/schedule.py [--quick]`."""

import asyncio
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from _lab import Lab, Load, Request, Target, bare_cancel, bare_schedule, others, quantile, spread, verdict
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

_PROMISE = 0.6
# Whose processor time is shown, and how the column is called. `client` is the load generator.
_PARTS = {
    "restate-server": "engine",
    "worker": "worker",
    "bare": "bare",
    "mariadb": "database",
    "api": "API",
    "client": "client",
}


class Burst(NamedTuple):
    """One burst: the load, what the ledger took after it, and CPU milliseconds per call by part."""

    load: Load
    ledger_seconds: float
    cpu: dict[str, float]


Rounds = dict[str, list[Burst]]


async def main(*, quick: bool) -> None:
    """Run it and print the table."""
    machine = others()
    calls, rounds = (200, 2) if quick else (1500, 6)
    measured: Rounds = {}
    async with Lab.opened() as lab:
        with Progress(transient=True, console=Console(stderr=True)) as progress:
            task = progress.add_task("warm-up", total=rounds + 1)
            await _round(lab, calls // 5, {}, ours_first=False)
            for number in range(rounds):
                progress.update(task, advance=1, description=f"round {number + 1} of {rounds}")
                await _round(lab, calls, measured, ours_first=number % 2 == 1)
        actions = await lab.actions()
    console = Console(width=max(Console().width, 215))
    console.print(_table(measured, f"{rounds} rounds of {calls} calls, 32 clients; {machine}; errors: 0"))
    console.print(
        "x: of the same round, then median (lowest…highest). ledger s: longest time after a burst until audit log and "
        "list of actions had all of it.\nCPU ms: of all processes per call, the ledger's work included; two cores "
        "have 2,000 a second; x by CPU is bare schedule's divided by this one's. Both need a quiet "
        f"machine. In the list of actions at the end: {actions}."
    )


async def _round(lab: Lab, calls: int, measured: Rounds, *, ours_first: bool) -> None:
    targets = await lab.projects(calls)
    # The bare object gets keys of its own; ours goes first in every second round.
    for ours, bare in (
        (_ours("schedule", [lab.schedule(one) for one in targets]), _bare("schedule", targets, bare_schedule)),
        (_ours("cancel", [lab.cancel(one) for one in targets]), _bare("cancel", targets, bare_cancel)),
    ):
        for measure in (ours, bare) if ours_first else (bare, ours):
            await measure(lab, measured)
    await _api(lab, targets, measured)


def _ours(name: str, requests: Sequence[Request]) -> Callable[[Lab, Rounds], Awaitable[None]]:
    async def measure(lab: Lab, measured: Rounds) -> None:
        burst = await _burst(lab, lambda: lab.load(requests), entries=len(requests))
        measured.setdefault(f"lifecycle {name}", []).append(burst)

    return measure


def _bare(
    name: str, targets: Sequence[Target], request: Callable[[str], Request]
) -> Callable[[Lab, Rounds], Awaitable[None]]:
    async def measure(lab: Lab, measured: Rounds) -> None:
        requests = [request(one.id) for one in targets]
        burst = await _burst(lab, lambda: lab.load(requests), entries=0)
        measured.setdefault(f"bare {name}", []).append(burst)

    return measure


async def _api(lab: Lab, targets: Sequence[Target], measured: Rounds) -> None:
    requests = [
        (
            "POST",
            f"/v1/projects/{one.id}/deletion",
            f'{{"grace": "72h", "reason": "benchmark", "confirm": "{one.slug}"}}',
        )
        for one in targets
    ]
    burst = await _burst(
        lab, lambda: lab.load(requests, base=lab.stack.api_url, headers=lab.authorization()), entries=len(requests)
    )
    measured.setdefault("lifecycle schedule, API", []).append(burst)


async def _burst(lab: Lab, send: Callable[[], Awaitable[Load]], *, entries: int) -> Burst:
    """Send, and wait until the ledger has it, so that no burst pays for the one before it."""
    audited, before = await lab.audited(), lab.cpu_seconds()
    load = await send()
    ledger_seconds = await lab.wait_until_audited(audited + entries)
    after = {**lab.cpu_seconds(), "client": load.cpu_seconds}
    count = len(load.milliseconds)
    cpu = {part: (after[part] - before.get(part, 0.0)) * 1000 / count for part in _PARTS}
    return Burst(load, ledger_seconds, cpu)


def _table(measured: Rounds, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("call", no_wrap=True)
    for name in ("per second", "p50 ms", "p99 ms", "ledger s", "x bare schedule", "x bare cancel", "promise"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("x by CPU", "CPU ms", *_PARTS.values()):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("bare schedule", "lifecycle schedule", "bare cancel", "lifecycle cancel", "lifecycle schedule, API"):
        bursts = measured[name]
        against_schedule = _ratios(bursts, measured["bare schedule"])
        against_cancel = _ratios(bursts, measured["bare cancel"])
        latencies = [one for burst in bursts for one in burst.load.milliseconds]
        promised = name in ("lifecycle schedule", "lifecycle cancel")
        table.add_row(
            name,
            spread([burst.load.per_second for burst in bursts], ".0f"),
            f"{quantile(latencies, 0.5):.0f}",
            f"{quantile(latencies, 0.99):.0f}",
            f"{max(burst.ledger_seconds for burst in bursts):.2f}" if name.startswith("lifecycle") else "",
            spread(against_schedule),
            spread(against_cancel) if name.endswith("cancel") else "",
            verdict(statistics.median(against_schedule), at_least=_PROMISE) if promised else "",
            spread(_cpu_ratios(bursts, measured["bare schedule"])),
            *_cpu(bursts),
        )
    return table


def _ratios(bursts: Sequence[Burst], baseline: Sequence[Burst]) -> list[float]:
    return [ours.load.per_second / bare.load.per_second for ours, bare in zip(bursts, baseline, strict=True)]


def _cpu_ratios(bursts: Sequence[Burst], baseline: Sequence[Burst]) -> list[float]:
    return [sum(bare.cpu.values()) / sum(ours.cpu.values()) for ours, bare in zip(bursts, baseline, strict=True)]


def _cpu(bursts: Sequence[Burst]) -> list[str]:
    parts = [statistics.median(burst.cpu[part] for burst in bursts) for part in _PARTS]
    return [f"{one:.2f}" for one in (sum(parts), *parts)]


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))
