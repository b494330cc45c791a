"""Who gets a problem document, and who a page."""

import pytest
from fastapi import FastAPI, Response
from starlette.requests import Request

from lifecycle.api import problems
from lifecycle.errors import Code, LifecycleError

_BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("path", "accept", "is_page"),
    [
        ("/nowhere", _BROWSER, True),
        ("/nowhere", "text/html", True),
        ("/nowhere", "application/json;q=0.5, text/html;q=0.9", True),
        ("/nowhere", "application/json, text/html;q=0.9", False),
        ("/nowhere", "application/problem+json, text/html", False),
        ("/nowhere", "text/html;q=0", False),
        ("/nowhere", "text/html;q=much", True),
        ("/nowhere", "*/*", False),
        ("/nowhere", "", False),
        ("/v1/projects", _BROWSER, False),
    ],
)
def test_a_page_is_for_whoever_asks_for_pages(path: str, accept: str, is_page: bool) -> None:
    """Programs get JSON they can rely on; a person with a browser gets something to read."""
    scope = {"type": "http", "path": path, "query_string": b"", "headers": [(b"accept", accept.encode())]}

    assert problems.is_for_people(Request(scope)) is is_page


@pytest.mark.parametrize(
    ("path", "accept", "text", "vary"),
    [
        ("/nowhere", _BROWSER, b"a page", "Accept"),
        ("/nowhere", "*/*", b"not_found", "Accept"),
        ("/v1/nowhere", _BROWSER, b"not_found", None),
    ],
)
async def test_a_page_is_never_kept_for_a_program(path: str, accept: str, text: bytes, vary: str | None) -> None:
    """What depends on what is asked for says so, for whatever keeps answers on the way (RFC 9110, 12.5.5)."""
    app = FastAPI()

    async def page(_request: Request, _error: LifecycleError) -> Response:
        return Response("a page")

    app.state.refusal_page = page
    headers = [(b"accept", accept.encode())]
    scope = {"type": "http", "path": path, "query_string": b"", "headers": headers, "app": app}
    refused = await problems.answer(Request(scope), LifecycleError(Code.NOT_FOUND, path=path))

    assert text in bytes(refused.body)
    assert refused.headers.get("Vary") == vary
