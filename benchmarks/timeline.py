"""The console's timeline with many pending actions, beside an empty one. `python benchmarks/timeline.py [--quick]`.

Opened in a real browser: from the address to the end of loading, and the slowest frame while it is scrolled through.
"""

import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from _lab import others, quantile, verdict
from playwright.async_api import Page
from rich.console import Console
from rich.table import Table

from lifecycle import clock
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from tests.support import console

MANY = 10_000
_OPENS_MS, _BYTES, _FRAME_MS = 1000, 200_000, 100
_FRAMES = """async () => {
    let slowest = 0, last = performance.now();
    for (let y = 0; y < 60; y++) {
        window.scrollBy(0, 400);
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        slowest = Math.max(slowest, now - last);
        last = now;
    }
    return slowest;
}"""


class Opening(NamedTuple):
    """One time that the page was opened."""

    milliseconds: float
    size: int
    slowest_frame: float


async def main(*, quick: bool) -> None:
    """Run it and print the table."""
    machine, times = others(), 5 if quick else 30
    root = Path(tempfile.mkdtemp(prefix="lifecycle-bench-"))
    stack = Stack(root / "s", settings={"LIFECYCLE_RECONCILER_INTERVAL": "1m"})
    try:
        ready = await stack.start()
        db = Database(stack.database.url, size=1, deadline=timedelta(seconds=60))
        async with (
            console.chromium() as browser,
            console.opened(browser, stack.api_url, ready["api_key"]) as page,
        ):
            empty = [await _open(page) for _ in range(times)]
            await _fill(db)
            full = [await _open(page) for _ in range(times)]
        await db.close()
    finally:
        await stack.stop()
        shutil.rmtree(root)
    _print(machine, empty, full)


async def _open(page: Page) -> Opening:
    begun = time.perf_counter()
    answer = await page.goto("/", wait_until="load")
    took = (time.perf_counter() - begun) * 1000
    if answer is None:
        raise RuntimeError("the page did not answer")
    return Opening(took, len(await answer.body()), await page.evaluate(_FRAMES))


async def _fill(db: Database) -> None:
    now = clock.now()
    due = [
        {"n": number, "due": (now + timedelta(minutes=number * 3)).strftime("%F %T.%f")}
        for number in range(1, MANY + 1)
    ]
    await db.execute(
        "INSERT INTO pending_actions (id, kind, subject, label, project_id, workspace_id, state, is_open, due_at, "
        "generation, sequence, reason, requested_by, updated_at) SELECT CONCAT('project-deletion/many_', n), "
        "'project-deletion', CONCAT('many_', n), CONCAT('project-', n), NULL, w.id, 'pending', 1, due, 1, 1, "
        "'the customer has left us, and asked for everything to go', 'ada@example.com', %s FROM workspaces w, "
        "JSON_TABLE(%s, '$[*]' COLUMNS (n INT PATH '$.n', due DATETIME(6) PATH '$.due')) AS many "
        "WHERE w.name = 'dev'",
        now,
        json.dumps(due),
    )


def _print(machine: str, empty: list[Opening], full: list[Opening]) -> None:
    table = Table(title=f"The timeline with {MANY:,} pending actions; {machine}", title_justify="left")
    for name in (
        "",
        "opens ms p50",
        "p90",
        "promise",
        "x empty",
        "bytes",
        "promise",
        "slowest frame ms p50",
        "promise",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    base = statistics.median(one.milliseconds for one in empty)
    for name, openings in (("empty", empty), (f"{MANY:,}", full)):
        times = [one.milliseconds for one in openings]
        median, size = statistics.median(times), max(one.size for one in openings)
        frame = statistics.median(one.slowest_frame for one in openings)
        table.add_row(
            name,
            f"{median:.0f}",
            f"{quantile(times, 0.9):.0f}",
            verdict(quantile(times, 0.9), at_most=_OPENS_MS),
            f"{median / base:.2f}",
            f"{size:,}",
            verdict(size, at_most=_BYTES),
            f"{frame:.0f}",
            verdict(frame, at_most=_FRAME_MS),
        )
    Console(width=max(Console().width, 140)).print(table)


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))
