"""A deployment that costs little: answers every request with its name, as JSON. Run as `python _app.py NAME`."""

import asyncio
import json
import os
import sys

import uvloop

_BODY = json.dumps({"name": sys.argv[1]}).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(_ANSWER)
    except (EOFError, OSError):
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()


uvloop.run(_main())
