"""Sends requests as fast as they are answered, and measures. Run as a process of its own by `_lab.Lab.load`.

Reads a plan from stdin and prints one JSON object. `@now@` in a body becomes the time of sending, as our API puts
it in. Every client sends its next request when the former one is answered: a closed loop, so `clients` is also the
number of requests in flight.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import uvloop


async def main(plan: dict[str, Any]) -> dict[str, Any]:
    """Carry out a plan."""
    queue = iter(plan["requests"])
    milliseconds: list[float] = []
    failures: Counter[str] = Counter()
    async with aiohttp.ClientSession(
        plan["base"],
        timeout=aiohttp.ClientTimeout(total=60),
        connector=aiohttp.TCPConnector(limit=0),
        headers=plan["headers"],
    ) as session:
        started, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(plan["clients"]):
                group.create_task(_client(session, queue, milliseconds, failures))
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    return {"seconds": seconds, "milliseconds": milliseconds, "failures": dict(failures), "cpu_seconds": cpu_seconds}


async def _client(
    session: aiohttp.ClientSession,
    queue: Iterator[tuple[str, str, str | None]],
    milliseconds: list[float],
    failures: Counter[str],
) -> None:
    for method, path, body in queue:
        begun = time.perf_counter()
        try:
            async with session.request(method, path, data=None if body is None else _stamped(body)) as response:
                answer = await response.read()
                if not response.ok:
                    failures[f"{response.status} {answer[:200].decode(errors='replace')}"] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            failures[type(error).__name__] += 1
        milliseconds.append((time.perf_counter() - begun) * 1000)


def _stamped(body: str) -> bytes:
    now = datetime.now(UTC).isoformat()  # noqa: TID251  the border, where the clock is read
    return body.replace("@now@", now).encode()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(json.load(sys.stdin)))))
