"""Sessions: an API key in a sealed cookie, and the token that each form has to bring.

The key is asked for again at each request, so a session ends with its key. Nothing is stored; signing out takes the
cookie away.
"""

import base64
import binascii
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from lifecycle import clock
from lifecycle.api.context import Context, ContextOf
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor
from lifecycle.vault import Vault, VaultError

COOKIE = "lifecycle_session"
LIFE = timedelta(hours=12)  # a working day; NIST SP 800-63B, section 4.2.3, allows as much
_PURPOSE = "console-session"
_MOST_FIELDS = 50


class _Session(BaseModel):
    token: str
    form: str
    ends_at: datetime


class Visitor(NamedTuple):
    """Whose page it is.

    Attributes:
        actor: who is signed in.
        form_token: what each of the page's forms brings along, and no page of another site knows.
    """

    actor: Actor
    form_token: str


class Sent(NamedTuple):
    """A form that was sent by a page of ours."""

    visitor: Visitor
    fields: dict[str, str]

    def get(self, name: str) -> str:
        """What was typed into a field; empty for nothing."""
        return self.fields.get(name, "").strip()


async def visitor(request: Request, context: ContextOf) -> Visitor:
    """Who looks at a page.

    Raises:
        LifecycleError: `key_missing` without a session, `key_invalid` when its key has been revoked.
    """
    session = _opened(context.vault, request.cookies.get(COOKIE, ""))
    if session is None or session.ends_at <= clock.now():
        raise LifecycleError(Code.KEY_MISSING)
    return Visitor(await context.keyring.who(session.token), session.form)


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
    if origin and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise LifecycleError(Code.FORM_OUTDATED)
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise LifecycleError(Code.FORM_OUTDATED) from error


async def begin(context: Context, response: Response, token: str) -> None:
    """Sign in with an API key.

    Raises:
        LifecycleError: `key_invalid`.
    """
    await context.keyring.who(token)
    session = _Session(token=token, form=secrets.token_urlsafe(24), ends_at=clock.now() + LIFE)
    sealed = context.vault.seal(session.model_dump_json().encode(), bound_to=_PURPOSE)
    response.set_cookie(
        COOKIE,
        base64.urlsafe_b64encode(sealed.encode()).decode().rstrip("="),
        max_age=int(LIFE.total_seconds()),
        httponly=True,
        samesite="lax",  # links in mail lead here
        secure=context.settings.api_url.startswith("https:"),
    )


def end(response: Response) -> None:
    """Sign out."""
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")


def _opened(vault: Vault, cookie: str) -> _Session | None:
    try:
        sealed = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)).decode()
        return _Session.model_validate_json(vault.open(sealed, bound_to=_PURPOSE))
    except (VaultError, ValueError, binascii.Error):  # none, or none of ours
        return None
