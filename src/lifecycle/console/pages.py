"""What every page has: its frame, its headers, and what becomes of a refusal."""

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import ValidationError
from starlette.routing import Match

from lifecycle import clock
from lifecycle.api import problems
from lifecycle.console import marks, sessions, words
from lifecycle.console.sessions import Visitor
from lifecycle.db import DatabaseDownError, refusal
from lifecycle.deploy.platforms.platform import PlatformDownError
from lifecycle.errors import Code, LifecycleError

STATIC = Path(__file__).parent / "static"
# No script and no style but the two files, nothing from elsewhere, in no frame (CSP level 3).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_SIGN_IN = frozenset({Code.KEY_MISSING, Code.KEY_INVALID})

_environment = Environment(
    loader=PackageLoader("lifecycle.console"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(words.FILTERS)
_environment.globals["address"] = words.address


class PageRoute(APIRoute):
    """A route whose refusals are pages; whoever is not signed in is asked to do that first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of this route."""
        handler = super().get_route_handler()

        async def show(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:  # noqa: BLE001  whatever it is, a person wants a page
                refused = _refused(error)
            return _to_sign_in(request) if refused.code in _SIGN_IN else _said(request, refused)

        return show


def page(template: str, visitor: Visitor | None, *, status: int = HTTPStatus.OK, **given: object) -> HTMLResponse:
    """A page.

    Args:
        template: its file.
        visitor: who is signed in; None shows no menu.
        status: of the answer.
        given: what the template names.
    """
    text = _environment.get_template(template).render(visitor=visitor, now=clock.now(), **given)
    return HTMLResponse(text, status_code=status, headers=dict(HEADERS))


async def refusal_page(request: Request, error: LifecycleError) -> Response:
    """What a person gets of a refusal that no page made: of an address that is none, or of a request without an end."""
    if error.code is Code.METHOD_NOT_ALLOWED and request.method == "GET":
        return to(_above(request))
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        await sessions.somebody(request)
    return _said(request, error)


def to(path: str, **query: str | None) -> RedirectResponse:
    """The answer to a form that was carried out: look here."""
    return RedirectResponse(words.address(path, **query), HTTPStatus.SEE_OTHER)


def asked(build: Callable[[], Any]) -> Any:
    """What `build` makes of the fields of a form.

    Raises:
        LifecycleError: `invalid_request`, naming the field that is not as it should be.
    """
    try:
        return build()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "form"
        problem = f"{field}: {first['msg'].removeprefix('Value error, ')}"
        raise LifecycleError(Code.INVALID_REQUEST, problem=problem, field=field) from error


def _refused(error: Exception) -> LifecycleError:
    match error:
        case LifecycleError():
            return error
        case DatabaseDownError():
            return refusal(error)
        case PlatformDownError():
            problem = str(error).rstrip(".")
            return LifecycleError(Code.PLATFORM_UNAVAILABLE, problem=problem, retry_after_seconds="5")
        case ExceptionGroup(exceptions=[first, *_]):  # of things that were asked at the same time
            return _refused(first)
        case RequestValidationError():
            return LifecycleError(Code.INVALID_REQUEST, problem="the address has a filter that cannot be read")
        case _:
            return problems.unexpected(error)


def _said(request: Request, refused: LifecycleError) -> HTMLResponse:
    visitor = sessions.known(request)
    back = sessions.came_from(request)
    shown = page(
        "refused.html",
        visitor,
        status=refused.status_code,
        refused=refused,
        back="" if request.method == "GET" and back == _here(request) else back,
        has_sent=request.method == "POST",
        # Rules refuse before anything is done; what failed otherwise may have been carried out all the same.
        is_unchanged=refused.status_code < HTTPStatus.INTERNAL_SERVER_ERROR,
        is_done=request.method == "GET" and marks.read(request) != "",
    )
    problems.headers(refused, shown)
    return shown


def _to_sign_in(request: Request) -> RedirectResponse:
    if request.method == "GET":
        here = _here(request)
        answer = to("/sign-in", next=None if here == "/" else here)
    elif request.url.path == "/sign-out":
        answer = to("/sign-in")
    else:
        answer = to("/sign-in", over="1", next=sessions.came_from(request))
    sessions.end(request.app.state.context.settings, answer)
    return answer


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _above(request: Request) -> str:
    """The nearest page above an address that only takes forms."""
    path = request.url.path
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        scope = {**request.scope, "path": path, "method": "GET"}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes):
            break
    return path
