"""Watches the requests to the API: how long they take, what their log lines belong to, traces."""

import time
from collections.abc import Mapping
from http import HTTPMethod

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lifecycle import ids
from lifecycle.ledger import icalendar
from lifecycle.observability import logs, measures, traces

_NO_ROUTE = "none"
_METHODS = frozenset(HTTPMethod)  # whoever asks may make up others


class Watched:
    """ASGI middleware, the outermost.

    Args:
        app: what is watched.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        measures.begin_api(icalendar.KINDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        # Neither the path, which names things, nor the query, which may have a token in it.
        logs.bind(request=ids.new("req"), method=method)
        with traces.span(method, parent=_headers(scope), is_server=True) as span:
            try:
                await self._app(scope, receive, note)
            finally:
                route = _route(scope)
                measures.REQUEST.labels(method, route, str(status)).observe(time.perf_counter() - started)
                span.rename(f"{method} {route}")
                span.note(**{"http.request.method": method, "http.route": route, "http.response.status_code": status})


def _route(scope: Scope) -> str:
    """The pattern of the path, such as `/v1/projects/{project}`; there are few of them, and it names nobody."""
    return getattr(scope.get("route"), "path_format", _NO_ROUTE)


def _headers(scope: Scope) -> Mapping[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"
    }
