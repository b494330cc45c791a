"""Sessions: an API key in a sealed cookie, and the token that each form has to bring.

The key is asked for again at each request, so a session ends with its key. Sessions are not stored. Signing out takes
the cookie away, and notes that the session is ended, so that a copy of the cookie opens nothing either: at once in this
process, in others after `LIFECYCLE_KEY_CACHE_TTL` at most. While the database is down they cannot be told, and a copy
works there until the session is twelve hours old, or its key is revoked.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import logging
import secrets
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from lifecycle import clock
from lifecycle.api.context import Context, ContextOf
from lifecycle.db import DatabaseDownError
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor
from lifecycle.settings import Settings
from lifecycle.vault import Vault, VaultError

_COOKIE = "lifecycle_session"
LIFE = timedelta(hours=12)  # a working day; NIST SP 800-63B, section 4.2.3, allows as much
_PURPOSE = "console-session"
_MOST_FIELDS = 50
_log = logging.getLogger(__name__)


class _Session(BaseModel):
    token: str
    form: str
    ends_at: datetime

    @property
    def id(self) -> str:
        """What it is called where its end is noted; no way leads back from it."""
        return hashlib.sha256(self.form.encode()).hexdigest()


class Visitor(NamedTuple):
    """Whose page it is.

    Attributes:
        actor: who is signed in.
        form_token: what each of the page's forms brings along, and no page of another site knows.
        has_sent: whether the page answers a form. Its address then shows something else, or nothing, when it is opened
            again, so such a page follows nothing.
    """

    actor: Actor
    form_token: str
    has_sent: bool = False


class Sent(NamedTuple):
    """A form that was sent by a page of ours."""

    visitor: Visitor
    fields: dict[str, str]

    def get(self, name: str) -> str:
        """What was typed into a field; empty for nothing."""
        return self.fields.get(name, "").strip()


async def visitor(request: Request, context: ContextOf) -> Visitor:
    """Who looks at a page. What goes wrong from then on is shown to them, see `known`.

    Raises:
        LifecycleError: `key_missing` without a session, `key_invalid` when its key has been revoked.
    """
    session = _opened(context.vault, request.cookies.get(_name(context.settings), ""))
    if session is None or session.ends_at <= clock.now():
        raise LifecycleError(Code.KEY_MISSING)
    actor = await context.keyring.who(session.token)
    if await context.ended_sessions.has(session.id):
        raise LifecycleError(Code.KEY_MISSING)
    found = Visitor(actor, session.form, has_sent=request.method == "POST")
    request.state.visitor = found
    return found


async def somebody(request: Request) -> Visitor | None:
    """Who looks at a page that is for everybody."""
    with contextlib.suppress(LifecycleError):
        return known(request) or await visitor(request, request.app.state.context)
    return None


def known(request: Request) -> Visitor | None:
    """Who looks at the page, as far as that was found out before something went wrong."""
    return getattr(request.state, "visitor", None)


VisitorOf = Annotated[Visitor, Depends(visitor)]


async def sent(request: Request, visitor: VisitorOf) -> Sent:
    """The form of a POST.

    Raises:
        LifecycleError: `form_outdated` when the form is not one of this session's.
    """
    fields = await read(request)
    if not hmac.compare_digest(fields.pop("form_token", "").encode(), visitor.form_token.encode()):
        raise LifecycleError(Code.FORM_OUTDATED)
    return Sent(visitor, fields)


SentOf = Annotated[Sent, Depends(sent)]


async def read(request: Request) -> dict[str, str]:
    """The fields of a form, which must come from a page of this site, as far as the browser says.

    Raises:
        LifecycleError: `form_outdated` for one of another site, or none at all.
    """
    origin = request.headers.get("origin", "")
    if origin and not _is_ours(request, origin):
        raise LifecycleError(Code.FORM_OUTDATED)
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise LifecycleError(Code.FORM_OUTDATED) from error


def came_from(request: Request) -> str:
    """The page of this site that a link or a form was on, as the browser says; empty when it says nothing."""
    referer = request.headers.get("referer", "")
    if not referer or not _is_ours(request, referer):
        return ""
    parts = urlsplit(referer)
    return inside(f"{parts.path}?{parts.query}" if parts.query else parts.path)


def inside(path: str) -> str:
    """A path of this console; two slashes at the beginning would lead elsewhere."""
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") else "/"


async def begin(context: Context, response: Response, token: str) -> None:
    """Sign in with an API key.

    Raises:
        LifecycleError: `key_invalid`.
    """
    await context.keyring.who(token)
    session = _Session(token=token, form=secrets.token_urlsafe(24), ends_at=clock.now() + LIFE)
    sealed = context.vault.seal(session.model_dump_json().encode(), bound_to=_PURPOSE)
    keep(context.settings, response, base64.urlsafe_b64encode(sealed.encode()).decode().rstrip("="))


def keep(settings: Settings, response: Response, cookie: str) -> None:
    """Hand a session to the browser."""
    response.set_cookie(
        _name(settings),
        cookie,
        max_age=int(LIFE.total_seconds()),
        httponly=True,
        samesite="lax",  # links in mail lead here
        secure=_is_secure(settings),
    )


async def leave(request: Request, context: Context) -> None:
    """Note that the session of a request is ended, so that no copy of its cookie opens anything."""
    session = _opened(context.vault, request.cookies.get(_name(context.settings), ""))
    if session is None:
        return
    try:
        await context.ended_sessions.add(session.id, ends_at=session.ends_at)
    except DatabaseDownError as error:
        # Who signs out wants to be out; the browser at least forgets.
        _log.warning("the end of a session could not be told to other processes error=%s", error)


def end(settings: Settings, response: Response) -> None:
    """Have the browser forget its session, and nothing else that is of this host."""
    response.delete_cookie(_name(settings), httponly=True, samesite="lax", secure=_is_secure(settings))


def _is_secure(settings: Settings) -> bool:
    return settings.api_url.startswith("https:")


def _name(settings: Settings) -> str:
    """With the prefix, no neighbour in the domain can plant a cookie (RFC 6265bis, section 4.1.3.2)."""
    return f"__Host-{_COOKIE}" if _is_secure(settings) else _COOKIE


def _is_ours(request: Request, address: str) -> bool:
    return urlsplit(address).netloc == request.headers.get("host", "")


def _opened(vault: Vault, cookie: str) -> _Session | None:
    try:
        sealed = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)).decode()
        return _Session.model_validate_json(vault.open(sealed, bound_to=_PURPOSE))
    except (VaultError, ValueError, binascii.Error):  # none, or none of ours
        return None
