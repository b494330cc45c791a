"""A wire that can be cut: stands between two servers, and loses the rest of an answer where it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_CHUNK = 65_536


class Proxy:
    """Passes bytes on; one connection in, one connection out.

    Attributes:
        port: where it listens.
        target: the port that it stands in front of.
        cut: asked when an answer begins: after how many of its bytes the connection breaks, or None.
        held: while it is set, an answer stops in front of these bytes and the rest waits.
        cuts: how many answers were cut.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self.cut: Callable[[], int | None] = lambda: None
        self.held: bytes | None = None
        self.cuts = 0
        self._asked = False
        self.holding = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or it is cut."""
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.target)
            fresh = asyncio.Event()
            up = asyncio.create_task(self._questions(reader, inner_writer, fresh))
            down = asyncio.create_task(self._answers(inner_reader, writer, fresh))
            try:
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (up, down):
                    task.cancel()
                inner_writer.close()
        writer.close()

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fresh: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                fresh.set()
                writer.write(data)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fresh: asyncio.Event) -> None:
        left: int | None = None
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if fresh.is_set():
                    fresh.clear()
                    left = self.cut()
                if self.held is not None and self.held in data:
                    place = data.index(self.held)
                    writer.write(data[:place])
                    data = data[place:]
                    self.holding.set()
                    while self.held is not None:
                        await asyncio.sleep(0.01)
                if left is not None and left < len(data):
                    self.cuts += 1
                    writer.write(data[:left])
                    await writer.drain()
                    return
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def opened() -> AsyncIterator[Proxy]:
    """A proxy for the time of the block; its target is set later."""
    proxy = Proxy()
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
