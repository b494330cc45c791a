"""The mark that a form was carried out, in a cookie that is meant for one page and lives for half a minute."""

from datetime import timedelta
from urllib.parse import quote, unquote

from fastapi import Request, Response

COOKIE = "lifecycle_done"
# As long as somebody needs to read it, though the page may follow what happens meanwhile.
LIFE = timedelta(seconds=30)


def leave(answer: Response, path: str, word: str) -> None:
    """Mark for the page at `path` that `word` was done."""
    value = f"{word}:{quote(unquote(path), safe='')}"
    answer.set_cookie(COOKIE, value, max_age=int(LIFE.total_seconds()), httponly=True, samesite="lax")


def read(request: Request) -> str:
    """What was just done, if this is the page that says so; else empty."""
    word, _, path = request.cookies.get(COOKIE, "").partition(":")
    return word if unquote(path) == unquote(request.scope["path"]) else ""
