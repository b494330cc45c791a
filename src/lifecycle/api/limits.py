"""Bounds every request: the size of its body and the time until its answer."""

import asyncio
import re
from datetime import timedelta

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lifecycle.api import problems
from lifecycle.errors import Code, LifecycleError

MAX_BODY_BYTES = 1024 * 1024
# Sources are large and slow; their route bounds them itself.
_STREAMED = re.compile(r"/v1/deployments/[^/]+/source")
# Events go on until the listener has enough.
_ENDLESS = frozenset({"/v1/events", "/events"})
# A pre-flight waits for servers of others, and says at its own end which of them were silent.
_PATIENT = re.compile(r"/v1/certificates/[^/]+/preflight")
_PATIENCE_SECONDS = 29


class Limits:
    """ASGI middleware.

    Args:
        app: what it protects.
        deadline: longest time until the answer begins.
    """

    def __init__(self, app: ASGIApp, *, deadline: timedelta) -> None:
        self._app = app
        self._deadline = deadline.total_seconds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within the bounds."""
        if scope["type"] != "http" or _is_stream(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        started = False

        async def note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            patience = _PATIENCE_SECONDS if _PATIENT.fullmatch(scope["path"]) else 0
            async with asyncio.timeout(max(self._deadline, patience)):
                whole = await _read(scope, receive)
                await self._app(scope, _replay(whole, receive), note)
        except _TooLargeError:
            await _refuse(LifecycleError(Code.BODY_TOO_LARGE, limit_bytes=str(MAX_BODY_BYTES)), scope, receive, send)
        except TimeoutError:
            if started:
                raise
            error = LifecycleError(Code.ENGINE_UNAVAILABLE, problem="no answer in time", retry_after_seconds="2")
            await _refuse(error, scope, receive, send)


async def _refuse(error: LifecycleError, scope: Scope, receive: Receive, send: Send) -> None:
    answer = await problems.answer(Request(scope), error)
    await answer(scope, receive, send)


def _is_stream(method: str, path: str) -> bool:
    return (method == "PUT" and _STREAMED.fullmatch(path) is not None) or (method == "GET" and path in _ENDLESS)


class _TooLargeError(Exception):
    pass


async def _read(scope: Scope, receive: Receive) -> bytes:
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise _TooLargeError
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise _TooLargeError
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    handed_out = False

    async def again() -> Message:
        nonlocal handed_out
        if handed_out:
            return await receive()
        handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
