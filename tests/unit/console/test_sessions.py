"""The cookie of a session, and where forms come from."""

import pytest
from fastapi import Response
from starlette.requests import Request

from lifecycle.console import sessions
from lifecycle.settings import Settings


@pytest.mark.parametrize(
    ("url", "name", "is_secure"),
    [
        ("http://127.0.0.1:8000", "lifecycle_session", False),
        ("https://lifecycle.example.com", "__Host-lifecycle_session", True),
    ],
)
def test_behind_tls_no_neighbour_in_the_domain_can_plant_a_session(url: str, name: str, is_secure: bool) -> None:
    """The name says that the cookie is this host's alone; browsers hold it to that, also when it is taken away."""
    settings = Settings(api_url=url)
    kept, ended = Response(), Response()
    sessions.keep(settings, kept, "sealed")
    sessions.end(settings, ended)

    for answer in (kept, ended):
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"{name}=")
        assert "Path=/" in cookie
        assert "domain" not in cookie.lower()
        assert "HttpOnly" in cookie
        assert ("Secure" in cookie) is is_secure


@pytest.mark.parametrize(
    ("referer", "page"),
    [
        ("https://here.example/projects/shop?done=1", "/projects/shop?done=1"),
        ("https://elsewhere.example/projects", ""),
        ("https://here.example//elsewhere.example/", "/"),
        ("", ""),
    ],
)
def test_the_way_back_leads_nowhere_else(referer: str, page: str) -> None:
    """A page says where I came from only when that was a page of this console."""
    headers = [(b"host", b"here.example"), (b"referer", referer.encode())]

    assert sessions.came_from(Request({"type": "http", "headers": headers})) == page
