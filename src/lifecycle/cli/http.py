"""How the command line talks to the API: where it is, with which key, and how refusals come back."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp

from lifecycle.settings import Settings

_TIMEOUT = aiohttp.ClientTimeout(total=30)
# An upload takes as long as it takes; only a connection on which nothing moves is given up.
_UPLOAD_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=120)
LOOK_EVERY_SECONDS = 0.25
_UNREACHABLE_SECONDS = 60
_NO_PARTS = ("", ".", "..")


class CommandError(Exception):
    """A command that could not be carried out.

    Args:
        message: what is the matter.
        hint: what to do next.
        refusal: whether asking again the same way can never help (exit code 2, else 1).
        problem: the problem document, for `--json`.
    """

    def __init__(self, message: str, hint: str, *, refusal: bool, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.refusal = refusal
        self.problem = problem or {"detail": message, "hint": hint}


class Target(NamedTuple):
    """Where the API is, and the key for it."""

    url: str
    key: str


def target() -> Target:
    """The API to talk to: from LIFECYCLE_API_URL and LIFECYCLE_API_KEY, else of a `lifecycle dev` nearby."""
    settings = Settings()
    if settings.api_key is not None:
        return Target(settings.api_url, settings.api_key.get_secret_value())
    ready = nearby()
    if ready is None:
        raise CommandError(
            "No API key is set.",
            "Set LIFECYCLE_API_URL and LIFECYCLE_API_KEY, or start 'lifecycle dev' in this folder.",
            refusal=True,
        )
    return Target(settings.api_url if "api_url" in settings.model_fields_set else ready["api_url"], ready["api_key"])


def nearby() -> Mapping[str, str] | None:
    """What `ready.json` says of a `lifecycle dev` that runs in this folder or one above; None when none does."""
    folder = nearby_folder()
    if folder is None:
        return None
    found: dict[str, str] = json.loads((folder / "ready.json").read_text(encoding="utf-8"))
    return found


def nearby_folder() -> Path | None:
    """The folder of a `lifecycle dev` that runs in this folder or one above."""
    here = Path.cwd()
    folders = (folder / ".dev" for folder in (here, *here.parents))
    return next((folder for folder in folders if (folder / "ready.json").is_file()), None)


def address(hostname: str) -> str:
    """How to reach a host name: with the port of a `lifecycle dev` nearby when that is the one we talk to."""
    ready = nearby()
    if ready is None or not ready["gateway_http_url"] or ready["api_url"] != target().url.rstrip("/"):
        return hostname
    return f"http://{hostname}:{urlsplit(ready['gateway_http_url']).port}"


def call(
    method: str,
    path: str,
    *,
    body: Mapping[str, object] | None = None,
    query: Mapping[str, str | None] | None = None,
    if_match: int | None = None,
) -> Any:
    """The answer of the API, as parsed JSON; None when it has no body.

    Raises:
        CommandError: refused, or not reachable.
    """
    headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
    text = _send(method, path, query=query, headers=headers, json=body)
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise _not_ours(path) from error


def until(
    seen: Mapping[str, Any],
    path: str,
    is_over: Callable[[Mapping[str, Any]], bool],
    *,
    pause: Callable[[Mapping[str, Any]], float] = lambda _: LOOK_EVERY_SECONDS,
) -> Iterator[Mapping[str, Any]]:
    """What is at `path`, beginning with what was seen of it, again and again; the last one is over.

    Args:
        seen: of it.
        path: of the API.
        is_over: whether that is the last one.
        pause: seconds until the next look.

    Raises:
        CommandError: it is refused, or the API cannot be reached for a minute.
    """
    unreachable_since: float | None = None
    yield seen
    while not is_over(seen):
        time.sleep(pause(seen))
        try:
            seen = call("GET", path)
        except CommandError as error:
            unreachable_since = unreachable_since or time.monotonic()
            if error.refusal or time.monotonic() - unreachable_since > _UNREACHABLE_SECONDS:
                raise
            continue
        unreachable_since = None
        yield seen


def text(path: str, *, method: str = "GET", query: Mapping[str, str | None] | None = None) -> str:
    """The answer of the API as it came, for what is not JSON.

    Raises:
        CommandError: refused, or not reachable.
    """
    return _send(method, path, query=query)


def upload(path: str, content: IO[bytes]) -> Any:
    """Send a file with PUT, in pieces, and return the answer of the API as parsed JSON.

    Raises:
        CommandError: refused, or not reachable.
    """
    return json.loads(
        _send("PUT", path, headers={"Content-Type": "application/x-tar"}, data=content, patience=_UPLOAD_TIMEOUT)
    )


def quoted(part: str) -> str:
    """One part of a path, with everything that means something in a path escaped.

    Raises:
        CommandError: it is one that a path cannot have as a part: nothing, or dots that mean a folder.
    """
    if part in _NO_PARTS:
        raise CommandError(
            f"'{part}' names nothing.", "Give the id or the name, as the list of them shows it.", refusal=True
        )
    return quote(part, safe="")


def _send(
    method: str,
    path: str,
    *,
    query: Mapping[str, str | None] | None = None,
    headers: Mapping[str, str] | None = None,
    **sent: Any,
) -> str:
    where = target()
    wanted = {name: value for name, value in (query or {}).items() if value is not None}
    headers = {"Authorization": f"Bearer {where.key}", **(headers or {})}
    status, text = asyncio.run(_request(method, where.url.rstrip("/") + path, params=wanted, headers=headers, **sent))
    if status < HTTPStatus.BAD_REQUEST:
        return text
    try:
        problem = json.loads(text)
        detail, hint = problem["detail"], problem["hint"]
    except (ValueError, TypeError, KeyError) as error:
        raise _not_ours(f"{path} ({status})") from error
    raise CommandError(detail, hint, refusal=status < HTTPStatus.INTERNAL_SERVER_ERROR, problem=problem)


async def _request(
    method: str, url: str, *, patience: aiohttp.ClientTimeout = _TIMEOUT, **sent: Any
) -> tuple[int, str]:
    try:
        async with (
            aiohttp.ClientSession(timeout=patience) as session,
            session.request(method, url, **sent) as response,
        ):
            return response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CommandError(
            f"The API at {url.split('/v1', maxsplit=1)[0]} cannot be reached.",
            "Check LIFECYCLE_API_URL, and that 'lifecycle api' (or 'lifecycle dev') runs.",
            refusal=False,
        ) from error


def _not_ours(path: str) -> CommandError:
    return CommandError(
        f"{target().url.rstrip('/')}{path} answered with something that is not of Lifecycle.",
        "Check that LIFECYCLE_API_URL is the address of Lifecycle.",
        refusal=False,
    )
