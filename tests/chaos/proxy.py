"""A wire that can be cut: stands in front of a server, and loses or holds back the rest of an answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

_CHUNK = 65_536


def _never() -> int | None:
    return None


class Proxy:
    """Passes bytes on, one connection in and one out.

    Attributes:
        port: where it listens.
        target: the port that it stands in front of.
        cut: asked when an answer begins: after how many of its bytes the connection breaks, None for never.
        cuts: how many answers were cut.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self.cut: Callable[[], int | None] = _never
        self.cuts = 0
        self._held: bytes | None = None
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def held(self, text: bytes) -> Iterator[None]:
        """For the time of the block, an answer stops in front of this text; the rest comes afterwards."""
        self._released.clear()
        self._held = text
        try:
            yield
        finally:
            self._held = None
            self._released.set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or it is cut."""
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        asked = asyncio.Event()
        ways = (
            asyncio.create_task(self._questions(reader, inner_writer, asked)),
            asyncio.create_task(self._answers(inner_reader, writer, asked)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            inner_writer.close()
            writer.close()

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                asked.set()
                writer.write(data)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        left: int | None = None
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if asked.is_set():
                    asked.clear()
                    left = self.cut()
                if left is not None and left < len(data):
                    self.cuts += 1
                    writer.write(data[:left])
                    await writer.drain()
                    return
                left = None if left is None else left - len(data)
                if self._held is not None and self._held in data:
                    place = data.index(self._held)
                    writer.write(data[:place])
                    data = data[place:]
                    await self._released.wait()
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
