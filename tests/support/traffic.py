"""Steady requests through a gateway while it is changed, and who was allowed to answer each.

Nothing is retried here: a connection that closes when it should not is a failed request.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

_PATIENCE = 10  # seconds for one answer


class Answer(NamedTuple):
    """One request: when it was sent and answered by the loop's clock, and what came. Status 0: nothing did."""

    sent: float
    received: float
    status: int
    body: str


class Period(NamedTuple):
    """When a deployment may have been live: from the first moment of the switch to it to the last of the one away."""

    name: str
    begins: float
    ends: float


class Timeline:
    """Who was live when.

    Args:
        first: live from the beginning.
    """

    def __init__(self, first: str) -> None:
        self._switches = [(first, -math.inf, -math.inf)]

    def switched(self, name: str, *, asked: float, confirmed: float) -> None:
        """Note a switch, by the loop's clock."""
        self._switches.append((name, asked, confirmed))

    def periods(self) -> Iterator[Period]:
        """Every time of being live."""
        ends = [confirmed for _, _, confirmed in self._switches[1:]] + [math.inf]
        for (name, asked, _), end in zip(self._switches, ends, strict=True):
            yield Period(name, asked, end)

    def wrong(self, answers: Sequence[Answer], *, name: Callable[[str], str]) -> list[Answer]:
        """The answers of deployments that were at no time live between request and answer.

        Args:
            answers: of successful requests.
            name: finds out from a body who answered.
        """
        periods = list(self.periods())

        def is_right(answer: Answer) -> bool:
            who = name(answer.body)
            return any(
                period.name == who and period.begins <= answer.received and period.ends >= answer.sent
                for period in periods
            )

        return [answer for answer in answers if not is_right(answer)]


async def traffic(
    port: int, host: str, *, clients: int, keep_alive: bool, until: Callable[[int], bool], pause_seconds: float = 0
) -> list[Answer]:
    """GET / of `host` on loopback, from several clients at once.

    Args:
        port: of the gateway.
        host: the Host header.
        clients: each sends its next request when it has the answer to the last.
        keep_alive: one connection for each client, or one for each request.
        until: told how many answers there are; True ends it.
        pause_seconds: that a client waits between two requests.
    """
    answers: list[Answer] = []

    async def client() -> None:
        connection: _Connection | None = None
        while not until(len(answers)):
            connection = connection or _Connection(port)
            answers.append(await connection.get(host, keep_alive=keep_alive))
            if not keep_alive or not answers[-1].status:
                await connection.close()
                connection = None
            await asyncio.sleep(pause_seconds)
        if connection is not None:
            await connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return answers


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, host: str, *, keep_alive: bool) -> Answer:
        clock = asyncio.get_running_loop().time
        sent = clock()
        try:
            async with asyncio.timeout(_PATIENCE):
                status, body = await self._ask(host, keep_alive=keep_alive)
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            return Answer(sent, clock(), 0, repr(error))
        return Answer(sent, clock(), status, body)

    async def _ask(self, host: str, *, keep_alive: bool) -> tuple[int, str]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        connection = "keep-alive" if keep_alive else "close"
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split(None, 1)[0])
        return int(head.split()[1]), (await reader.readexactly(length)).decode()

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
