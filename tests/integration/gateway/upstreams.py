"""Deployments for the gateway's tests: each says who it is. `python upstreams.py NAME PORT` runs one."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import WSMsgType, web

from lifecycle.dev.process import Child

_HOST = "127.0.0.1"


def application(name: str) -> web.Application:
    """Answers every path with its name, the path, and the headers that arrived."""

    async def answer(request: web.Request) -> web.Response:
        # Two headers of one name are shown as one, with both values.
        headers = {key.lower(): ", ".join(request.headers.getall(key)) for key in request.headers}
        body = await request.text()
        return web.json_response({"name": name, "path": request.path_qs, "headers": headers, "body": body})

    async def echo(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            if message.type is WSMsgType.TEXT:
                await connection.send_str(f"{name}: {message.data}")
        return connection

    made = web.Application()
    made.router.add_get("/socket", echo)
    made.router.add_route("*", "/{path:.*}", answer)
    return made


@asynccontextmanager
async def serving(name: str, port: int) -> AsyncIterator[str]:
    """A deployment in this process; gives its address."""
    runner = web.AppRunner(application(name), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, port).start()
        yield f"{_HOST}:{port}"
    finally:
        await runner.cleanup()


class Instance:
    """A deployment in a process of its own, which can be killed.

    Args:
        name: as it answers.
        port: where it listens.
        log: its log file.
    """

    def __init__(self, name: str, port: int, *, log: Path) -> None:
        self.name = name
        self.address = f"{_HOST}:{port}"
        self._port = port
        self.child = Child(name, [sys.executable, __file__, name, str(port)], environment={}, log=log)

    async def is_ready(self) -> bool:
        """Whether it takes connections."""
        try:
            _, writer = await asyncio.open_connection(_HOST, self._port)
        except OSError:
            return False
        writer.close()
        return True


def names(bodies: list[str]) -> set[str]:
    """Who gave these answers."""
    return {json.loads(body)["name"] for body in bodies}


if __name__ == "__main__":
    web.run_app(application(sys.argv[1]), host=_HOST, port=int(sys.argv[2]), print=None, access_log=None)
