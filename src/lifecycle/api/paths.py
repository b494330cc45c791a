"""Ids in paths that have a slash in them: a URL that was pasted where a host name is wanted, for one.

A slash that is written `%2F` is part of an id and ends no part of the path (RFC 3986, section 2.2); servers of ASGI
unquote it like all else. Here it stays quoted until the route is found, so that the refusal is that of the resource.
"""

import re
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator
from starlette.types import ASGIApp, Receive, Scope, Send

_SLASH = "%2F"
_QUOTED = re.compile(rb"%2f", re.IGNORECASE)

# For every parameter of a path that a refusal repeats.
UNQUOTED = AfterValidator(lambda text: text.replace(_SLASH, "/"))


class Slashes:
    """ASGI middleware: a slash that was quoted ends no part of a path.

    Args:
        app: what gets the path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        raw = scope.get("raw_path") if scope["type"] == "http" else None
        if raw and _QUOTED.search(raw):
            # In place: whoever watches the request from outside learns its route from the same scope.
            scope["path"] = _SLASH.join(_text(part) for part in _QUOTED.split(raw))
        await self._app(scope, receive, send)


def _text(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode(errors="replace")
