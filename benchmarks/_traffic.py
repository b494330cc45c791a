"""Steady requests from a process of their own. Run as `python -m benchmarks._traffic PORT HOST REQUESTS SECONDS FILE`.

Half of the clients keep their connection, half make one for each request. It ends when it has made so many requests
and so many seconds have passed, and writes all answers to the file.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from tests.support.traffic import traffic

_CLIENTS = 4


async def _main(port: int, host: str, requests: int, seconds: float, file: Path) -> None:
    latest = time.monotonic() + seconds

    def done(made: int) -> bool:
        return made >= requests / 2 and time.monotonic() > latest

    async with asyncio.TaskGroup() as group:
        runs = [
            group.create_task(traffic(port, host, clients=_CLIENTS, keep_alive=keep, until=done))
            for keep in (True, False)
        ]
    answers = [answer for run in runs for answer in run.result()]
    await asyncio.to_thread(file.write_text, json.dumps(answers))


if __name__ == "__main__":
    port, host, requests, seconds, file = sys.argv[1:]
    uvloop.run(_main(int(port), host, int(requests), float(seconds), Path(file)))
