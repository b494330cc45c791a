"""How the command line talks to the API: where it is, with which key, and how refusals come back."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from lifecycle.settings import Settings

_TIMEOUT = aiohttp.ClientTimeout(total=30)


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
    here = Path.cwd()
    for folder in (here, *here.parents):
        ready = folder / ".dev" / "ready.json"
        if ready.is_file():
            found: dict[str, str] = json.loads(ready.read_text(encoding="utf-8"))
            return found
    return None


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
    where = target()
    headers = {"Authorization": f"Bearer {where.key}"}
    if if_match is not None:
        headers["If-Match"] = f'"{if_match}"'
    wanted = {name: value for name, value in (query or {}).items() if value is not None}
    return asyncio.run(_call(method, where.url.rstrip("/") + path, headers, body, wanted))


async def _call(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Mapping[str, object] | None,
    query: Mapping[str, str],
) -> Any:
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.request(method, url, json=body, params=query, headers=headers) as response,
        ):
            text = await response.text()
            status = response.status
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CommandError(
            f"The API at {url.split('/v1', maxsplit=1)[0]} cannot be reached.",
            "Check LIFECYCLE_API_URL, and that 'lifecycle api' (or 'lifecycle dev') runs.",
            refusal=False,
        ) from error
    try:
        answer: Any = json.loads(text) if text else None
    except ValueError as error:
        raise CommandError(
            f"{url} answered {status} with something that is not JSON.",
            "Check that LIFECYCLE_API_URL is the address of Lifecycle.",
            refusal=False,
        ) from error
    if status >= HTTPStatus.BAD_REQUEST:
        raise CommandError(
            answer["detail"],
            answer["hint"],
            refusal=status < HTTPStatus.INTERNAL_SERVER_ERROR,
            problem=answer,
        )
    return answer


def quoted(part: str) -> str:
    """One part of a path, with everything that means something in a path escaped."""
    return quote(part, safe="")
