"""A slash in an id stays in it, so that the refusal is that of what was asked for."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from lifecycle.api.paths import Slashes


@pytest.mark.parametrize(
    ("raw", "routed"),
    [
        (b"/v1/certificates/https%3A%2F%2Fa.example%2fx", "/v1/certificates/https:%2F%2Fa.example%2Fx"),
        (b"/v1/projects/a%2Fb/deletion", "/v1/projects/a%2Fb/deletion"),
        (b"/v1/projects/%C3%A4%2F%FF", "/v1/projects/ä%2F\ufffd"),
        (b"/v1/projects/a%252Fb", "as the server has it"),
        (b"/v1/projects/a", "as the server has it"),
    ],
)
async def test_a_quoted_slash_ends_no_part_of_a_path(raw: bytes, routed: str) -> None:
    """What was quoted as part of an id is routed as part of it (RFC 3986, section 2.2); all else is left alone."""
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["path"])

    await Slashes(app)({"type": "http", "path": "as the server has it", "raw_path": raw}, _receive, _send)

    assert seen == [routed]


async def test_the_route_of_such_a_path_is_known_to_whoever_measures_it() -> None:
    """A request with a quoted slash is counted under its route, as all others are."""

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        scope["route"] = "found"

    scope: Scope = {"type": "http", "path": "/v1/projects/a/b", "raw_path": b"/v1/projects/a%2Fb"}
    await Slashes(app)(scope, _receive, _send)

    assert scope["route"] == "found"


async def _receive() -> Message:
    raise AssertionError


async def _send(message: Message) -> None:
    raise AssertionError(message)
