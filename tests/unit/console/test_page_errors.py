"""What a page says when something that it needs is down."""

import pytest
from fastapi import APIRouter, FastAPI, Response
from starlette.types import Message

from lifecycle.console.pages import PageRoute
from lifecycle.db import DatabaseDownError
from lifecycle.errors import Code, LifecycleError


async def _page_of(error: Exception) -> tuple[int, str]:
    """Status and text of a page that came to this error."""
    router = APIRouter(route_class=PageRoute)

    @router.get("/")
    async def fail() -> Response:
        raise error

    app = FastAPI()
    app.include_router(router)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": []}
    await app({**scope, "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": None}, receive, send)
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]).decode()


@pytest.mark.parametrize("error", [DatabaseDownError("gone"), LifecycleError(Code.ENGINE_UNAVAILABLE, problem="gone")])
async def test_things_that_are_asked_together_fail_as_if_asked_alone(error: Exception) -> None:
    """The database goes down while a page asks for several things: it says that, and not that something is broken."""
    alone = await _page_of(error)
    together = await _page_of(ExceptionGroup("asked together", [ExceptionGroup("again", [error])]))

    assert alone[0] == 503
    assert together == alone


async def test_without_the_database_the_page_says_what_works() -> None:
    """No page opens then, and what must not wait can be done all the same: I read how."""
    _, text = await _page_of(DatabaseDownError("gone"))

    assert "lifecycle project cancel-delete PROJECT" in text
