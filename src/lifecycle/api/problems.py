"""Turns every error into a problem document (RFC 9457), or into a page for whoever looks at pages."""

import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from lifecycle import ids
from lifecycle.db import DatabaseDownError, refusal
from lifecycle.deploy.platforms.platform import PlatformDownError
from lifecycle.errors import Code, LifecycleError
from lifecycle.mistakes import mistakes, unreadable

MEDIA_TYPE = "application/problem+json"
# What shows a refusal to a person.
Page = Callable[[Request, LifecycleError], Awaitable[Response]]

_PLACES = ("pointer", "parameter")
_API = "/v1/"
_QUALITY = re.compile(r"\bq=([01](?:\.\d{0,3})?)")
_log = logging.getLogger(__name__)


def document(error: LifecycleError, **more: object) -> dict[str, Any]:
    """The problem document of a refusal."""
    members: dict[str, Any] = {**error.params, **_errors(error), **more}
    return {
        "type": f"/errors/{error.code.value}",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": error.message,
        "code": error.code.value,
        "hint": error.hint,
        **{name: value for name, value in members.items() if name not in _PLACES},
    }


def _errors(error: LifecycleError) -> dict[str, Any]:
    """The one mistake of a refusal that `invalid` or `invalid_parameter` made, as all others are listed."""
    detail = error.params.get("problem", "").removeprefix(f"{error.params.get('field')}: ")
    found = [{place: error.params[place], "detail": detail} for place in _PLACES if place in error.params]
    return {"errors": found} if found else {}


def response(error: LifecycleError, **more: object) -> JSONResponse:
    """The answer that carries the problem document."""
    refused = JSONResponse(document(error, **more), status_code=error.status_code, media_type=MEDIA_TYPE)
    headers(error, refused)
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        refused.headers["WWW-Authenticate"] = "Bearer"
    return refused


def headers(error: LifecycleError, refused: Response) -> None:
    """Add what every refusal says beside its body, be that JSON or a page: when to come again."""
    if "retry_after_seconds" in error.params:
        refused.headers["Retry-After"] = error.params["retry_after_seconds"]


async def answer(request: Request, error: LifecycleError, **more: object) -> Response:
    """The answer that a program can use, or the page that a person can read."""
    page: Page | None = getattr(request.app.state, "refusal_page", None)
    refused = await page(request, error) if page and is_for_people(request) else response(error, **more)
    if page and not request.url.path.startswith(_API):
        refused.headers.add_vary_header("Accept")  # what is kept for one is not for the other (RFC 9110, 12.5.5)
    return refused


def is_for_people(request: HTTPConnection) -> bool:
    """Whether a page is wanted: the path is none of the API, and HTML is asked for before JSON (RFC 9110, 12.5.1)."""
    if request.url.path.startswith(_API):
        return False
    wanted = {}
    for one in request.headers.get("accept", "").lower().split(","):
        name, _, parameters = one.partition(";")
        found = _QUALITY.search(parameters)
        wanted[name.strip()] = float(found[1]) if found else 1.0
    return wanted.get("text/html", 0.0) > max(wanted.get("application/json", 0.0), wanted.get(MEDIA_TYPE, 0.0))


class Problem(BaseModel):
    """A problem document (RFC 9457). Some carry further members, such as `field` or `retry_after_seconds`.

    One about a request that is not valid carries `errors`: each with `detail`, and `pointer` (into the body) or
    `parameter` (of query, path or header).
    """

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(json_schema_extra={"enum": [code.value for code in Code]})
    hint: str


# How every operation may be refused, for the OpenAPI.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {
            MEDIA_TYPE: {
                "schema": Problem.model_json_schema(),
                "example": document(LifecycleError(Code.PROJECT_NOT_FOUND)),
            }
        },
    }
    for status, description in (("4XX", "Refused; `code` says why."), ("5XX", "Not possible now; try again."))
}


def invalid(field: str, problem: str) -> LifecycleError:
    """A refusal of one field of the body."""
    pointer = "#" if field == "body" else f"#/{field}"
    return LifecycleError(Code.INVALID_REQUEST, problem=f"{field}: {problem}", field=field, pointer=pointer)


def invalid_parameter(name: str, problem: str) -> LifecycleError:
    """A refusal of a parameter of query, path or header."""
    return LifecycleError(Code.INVALID_REQUEST, problem=f"{name}: {problem}", field=name, parameter=name)


def unexpected(error: Exception) -> LifecycleError:
    """What is said of an error that nobody thought of; the log has the rest, under the same reference."""
    reference = ids.new("err")
    _log.error("unexpected error reference=%s", reference, exc_info=error)
    return LifecycleError(Code.INTERNAL, reference=reference)


def install(app: FastAPI) -> None:
    """Answer every kind of error with a problem document, or with the page of `app.state.refusal_page`."""
    app.add_exception_handler(LifecycleError, _refused)
    app.add_exception_handler(DatabaseDownError, _database_down)
    app.add_exception_handler(PlatformDownError, _platform_down)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(Exception, _broken)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, LifecycleError)  # noqa: S101  the handler is registered for it
    return await answer(request, error)


async def _database_down(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseDownError)  # noqa: S101  the handler is registered for it
    return await answer(request, refusal(error))


async def _platform_down(request: Request, error: Exception) -> Response:
    problem = str(error).rstrip(".")
    return await answer(request, LifecycleError(Code.PLATFORM_UNAVAILABLE, problem=problem, retry_after_seconds="5"))


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  the handler is registered for it
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        return await answer(request, LifecycleError(Code.MALFORMED_JSON, problem=unreadable(found[0])))
    wrong = mistakes(found)
    return await answer(request, invalid(wrong[0].field, wrong[0].detail), errors=[one.member for one in wrong])


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  the handler is registered for it
    path = request.url.path[:200]
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        refused = await answer(request, LifecycleError(Code.METHOD_NOT_ALLOWED, path=path, method=request.method))
        refused.headers.update(error.headers or {})
        return refused
    if error.status_code == HTTPStatus.NOT_FOUND:
        return await answer(request, LifecycleError(Code.NOT_FOUND, path=path))
    return await answer(request, LifecycleError(Code.MALFORMED_JSON, problem=str(error.detail)))


async def _broken(request: Request, error: Exception) -> Response:
    return await answer(request, unexpected(error))
