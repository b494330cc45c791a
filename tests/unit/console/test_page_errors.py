"""What a page says when something that it needs is down."""

from typing import NamedTuple

import pytest
from fastapi import APIRouter, FastAPI, Response
from starlette.datastructures import Headers
from starlette.types import Message

from lifecycle.console import notices
from lifecycle.console.pages import PageRoute
from lifecycle.db import DatabaseDownError
from lifecycle.errors import Code, LifecycleError


class _Page(NamedTuple):
    status: int
    text: str
    headers: Headers


async def _page_of(error: Exception, *, method: str = "GET", cookie: str = "") -> _Page:
    """A page that came to this error."""
    router = APIRouter(route_class=PageRoute)

    @router.api_route("/", methods=[method])
    async def fail() -> Response:
        raise error

    app = FastAPI()
    app.include_router(router)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"cookie", cookie.encode())]
    scope = {"type": "http", "method": method, "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers}
    await app({**scope, "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": None}, receive, send)
    text = b"".join(one.get("body", b"") for one in sent[1:]).decode()
    return _Page(sent[0]["status"], text, Headers(raw=sent[0]["headers"]))


@pytest.mark.parametrize("error", [DatabaseDownError("gone"), LifecycleError(Code.ENGINE_UNAVAILABLE, problem="gone")])
async def test_things_that_are_asked_together_fail_as_if_asked_alone(error: Exception) -> None:
    """The database goes down while a page asks for several things: it says that, and not that something is broken."""
    alone = await _page_of(error)
    together = await _page_of(ExceptionGroup("asked together", [ExceptionGroup("again", [error])]))

    assert alone.status == 503
    assert together == alone


async def test_without_the_database_the_page_says_what_works() -> None:
    """No page opens then, and what must not wait can be done all the same: I read how."""
    shown = await _page_of(DatabaseDownError("gone"))

    assert "lifecycle project cancel-delete PROJECT" in shown.text
    assert shown.headers["Retry-After"] == "2"


async def test_a_form_that_got_no_answer_is_not_said_to_have_changed_nothing() -> None:
    """Also without a session, as behind a link in mail: what ran out of time may have been carried out."""
    slow = LifecycleError(Code.ENGINE_UNAVAILABLE, problem="no answer in time", retry_after_seconds="2")
    late = await _page_of(slow, method="POST")
    refused = await _page_of(LifecycleError(Code.FORM_OUTDATED), method="POST")

    assert "It is not certain whether it was done" in late.text
    assert late.headers["Retry-After"] == "2"
    assert "Nothing was changed." in refused.text


async def test_what_was_carried_out_is_not_said_to_have_failed() -> None:
    """My cancel got through while the database is down: the page that says so cannot be made, and says just that."""
    answer = notices.done("/", "cancelled")
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    after = await _page_of(DatabaseDownError("gone"), cookie=cookie)
    elsewhere = await _page_of(DatabaseDownError("gone"), cookie=cookie.replace("%2F", "%2Fprojects"))

    assert "What you sent was carried out; only this page cannot be shown now." in after.text
    assert "That did not work" not in after.text
    assert "That did not work" in elsewhere.text
