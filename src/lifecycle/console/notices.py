"""What a page says after a form was carried out: once, to whoever sent it.

The word for it is in a cookie that lives for half a minute and is meant for one page, and not in the address: an
address is kept and passed on, and would go on saying what is no longer so.
"""

from datetime import timedelta
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Depends, Request, Response

from lifecycle.console.pages import to

COOKIE = "lifecycle_done"
# As long as somebody needs to read it, though the page may follow what happens meanwhile.
LIFE = timedelta(seconds=30)


def done(path: str, word: str, **query: str | None) -> Response:
    """The answer to a form that was carried out: look there, where it is said.

    Args:
        path: of the page.
        word: what was done, as that page knows it.
        query: filters of the page.
    """
    answer = to(path, **query)
    value = f"{word}:{quote(unquote(path), safe='')}"
    answer.set_cookie(COOKIE, value, max_age=int(LIFE.total_seconds()), httponly=True, samesite="lax")
    return answer


def word_for(request: Request) -> str:
    """What was just done, if this is the page that says so; else empty."""
    word, _, path = request.cookies.get(COOKIE, "").partition(":")
    return word if unquote(path) == unquote(request.scope["path"]) else ""


DoneOf = Annotated[str, Depends(word_for)]
