"""Lateness, memory and list time with many pending. `python benchmarks/lateness.py [--quick]`."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from _lab import Lab, Request, bare_schedule, others, quantile, spread, verdict
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lifecycle import clock, ids
from lifecycle.scheduler.model import Deletion

_LATENESS_PROMISE = 1.5
_BYTES_PROMISE = 3000
_LIST_PROMISE_MS = 20
_LIST_CALLS = 500
_FEW = 100
# Few at a time: what a request waits in a queue is time that its countdown does not wait.
_GENTLE = 4


class Size(NamedTuple):
    """How much is measured."""

    others: int
    due: int
    over: timedelta
    rounds: int


class Memory(NamedTuple):
    """Bytes of the engine for each pending one: grown while they were scheduled, and after a restart."""

    grown: float
    restarted: float


class Figures(NamedTuple):
    """All that was measured; lateness in milliseconds, one list a round."""

    ours: list[list[float]]
    bare: list[list[float]]
    our_memory: Memory
    bare_memory: Memory
    few: Sequence[float]
    many: Sequence[float]


async def main(*, quick: bool) -> None:
    """Run it and print the table."""
    machine = others()
    size = Size(500, 100, timedelta(seconds=2), 2) if quick else Size(10_000, 1000, timedelta(seconds=10), 4)
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        async with Lab.opened() as lab:
            figures = await _measure(lab, size, progress)
    console = Console(width=max(Console().width, 130))
    console.print(_table(figures, size, machine))
    console.print(
        "Lateness: of ours, from due_at to started_at in the object's state; of bare ones, from due to the first line "
        "of their handler.\nGrown: the engine's resident memory right after; it holds what its database has not "
        "flushed yet, and the journals that are kept for a day.\nAfter a restart: what the pending ones cost by "
        "themselves, compared with the same engine restarted before they were scheduled."
    )


async def _measure(lab: Lab, size: Size, progress: Progress) -> Figures:
    task = progress.add_task("", total=size.rounds + 4)

    def say(step: str) -> None:
        progress.update(task, advance=1, description=step)

    say(f"the list with {_FEW} pending")
    await _schedule(lab, _FEW)
    few = await _list_times(lab)
    say(f"{size.others} pending")
    our_memory = await _our_memory(lab, size.others)
    say(f"the list with {size.others} pending")
    many = await _list_times(lab)
    ours: list[list[float]] = []
    bare: list[list[float]] = []
    for number in range(size.rounds):
        say(f"lateness, round {number + 1} of {size.rounds}")
        if number % 2:
            ours.append(await _our_lateness(lab, size))
            bare.append(await _bare_lateness(lab, size))
        else:
            bare.append(await _bare_lateness(lab, size))
            ours.append(await _our_lateness(lab, size))
    say(f"{size.others} bare ones pending")
    bare_memory = await _bare_memory(lab, size.others)
    return Figures(ours, bare, our_memory, bare_memory, few, many)


async def _schedule(lab: Lab, number: int) -> None:
    targets = await lab.projects(number)
    audited = await lab.audited()
    await lab.load([lab.schedule(target) for target in targets])
    await lab.wait_until_audited(audited + number)


async def _our_memory(lab: Lab, number: int) -> Memory:
    targets = await lab.projects(number)
    before = await _restarted_bytes(lab)
    audited = await lab.audited()
    await lab.load([lab.schedule(target) for target in targets])
    await lab.wait_until_audited(audited + number)
    grown = lab.engine_bytes() - before
    return Memory(grown / number, (await _restarted_bytes(lab) - before) / number)


async def _bare_memory(lab: Lab, number: int) -> Memory:
    before = await _restarted_bytes(lab)
    await lab.load([bare_schedule(ids.new("bare")) for _ in range(number)])
    grown = lab.engine_bytes() - before
    return Memory(grown / number, (await _restarted_bytes(lab) - before) / number)


async def _restarted_bytes(lab: Lab) -> int:
    engine = lab.stack.engine
    await engine.child.stop()
    await engine.start()
    await asyncio.sleep(5)  # it reads its log and its timers; there is nothing else to wait for
    return lab.engine_bytes()


async def _list_times(lab: Lab) -> Sequence[float]:
    request: Request = ("GET", "/v1/actions?limit=20", None)
    load = await lab.load(
        [request] * (_LIST_CALLS + 50), base=lab.stack.api_url, headers=lab.authorization(), clients=1
    )
    return load.milliseconds[50:]


async def _our_lateness(lab: Lab, size: Size) -> list[float]:
    targets = await lab.projects(size.due)
    audited = await lab.audited()
    moments = _moments(size)
    await lab.load(
        [lab.schedule(target, moment) for target, moment in zip(targets, moments, strict=True)], clients=_GENTLE
    )
    await _until(moments)
    await lab.wait_until_audited(audited + 3 * size.due)  # scheduled, started, finished
    wanted = {target.id for target in targets}
    deletions = [
        Deletion.model_validate_json(value) for key, value in (await lab.states("deletion")).items() if key in wanted
    ]
    late = [
        (one.started_at - one.countdown.due_at).total_seconds() * 1000
        for one in deletions
        if one.started_at is not None and one.countdown.due_at is not None
    ]
    return _complete(late, size)


async def _bare_lateness(lab: Lab, size: Size) -> list[float]:
    moments = _moments(size)
    await lab.load([bare_schedule(ids.new("bare"), moment) for moment in moments], clients=_GENTLE)
    await _until(moments)
    late: list[float] = []
    async with asyncio.timeout(60):
        while len(late) < size.due:
            await asyncio.sleep(0.5)
            late += [seconds * 1000 for seconds in await lab.bare_lateness()]
    return _complete(late, size)


def _moments(size: Size) -> list[datetime]:
    # Time enough to schedule all of them before the first one is due, on a busy machine too.
    first = clock.now() + timedelta(seconds=4) + timedelta(milliseconds=10) * size.due
    return [first + size.over * index / size.due for index in range(size.due)]


async def _until(moments: Sequence[datetime]) -> None:
    if clock.now() > moments[0]:
        raise RuntimeError("not all were scheduled when the first was due; the machine is too busy to measure")
    await asyncio.sleep((moments[-1] - clock.now()).total_seconds() + 1)


def _complete(late: list[float], size: Size) -> list[float]:
    if len(late) != size.due:
        raise RuntimeError(f"{len(late)} of {size.due} fired")
    return late


def _table(figures: Figures, size: Size, machine: str) -> Table:
    title = (
        f"{size.due} due over {size.over.total_seconds():.0f} s, {size.others} others pending, {size.rounds} rounds; "
        f"{machine}; median (lowest…highest) of the rounds"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("figure", no_wrap=True)
    for name in ("bare", "lifecycle", "x bare", "promise"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, share in (("earliest", 0.0), ("p50", 0.5), ("p99", 0.99), ("latest", 1.0)):
        bare = [quantile(late, share) for late in figures.bare]
        ours = [quantile(late, share) for late in figures.ours]
        ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
        promise = ""
        if name == "earliest":
            promise = verdict(min(ours), at_least=0)
        elif name == "p99":
            promise = verdict(median(ratios), at_most=_LATENESS_PROMISE)
        shown = "" if name == "earliest" else spread(ratios)
        table.add_row(f"lateness ms, {name}", spread(bare, ".1f"), spread(ours, ".1f"), shown, promise)
    table.add_section()
    our, their = figures.our_memory, figures.bare_memory
    table.add_row("engine bytes per pending, grown", f"{their.grown:,.0f}", f"{our.grown:,.0f}", "", "")
    kept = verdict(our.restarted, at_most=_BYTES_PROMISE)
    table.add_row("engine bytes per pending, restarted", f"{their.restarted:,.0f}", f"{our.restarted:,.0f}", "", kept)
    table.add_section()
    for count, times in ((_FEW, figures.few), (size.others + _FEW, figures.many)):
        shown = f"p50 {quantile(times, 0.5):.1f}, p99 {quantile(times, 0.99):.1f}"
        promise = verdict(quantile(times, 0.99), at_most=_LIST_PROMISE_MS)
        table.add_row(f"next 20 of {count:,} pending, ms", "", shown, "", promise)
    return table


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))
