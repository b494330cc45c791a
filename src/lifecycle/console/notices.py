"""What a page says after a form was carried out: for half a minute, to whoever sent it.

The word for it is in a cookie (`marks`) and not in the address: an address is kept and passed on, and would go on
saying what is no longer so. Whoever opens the page again within that time reads it again, as a page that follows what
happens is made anew too; so a page says it only as long as it is so.
"""

from typing import Annotated

from fastapi import Depends, Response

from lifecycle.console import marks
from lifecycle.console.pages import to


def done(path: str, word: str, **query: str | None) -> Response:
    """The answer to a form that was carried out: look there, where it is said.

    Args:
        path: of the page.
        word: what was done, as that page knows it.
        query: filters of the page.
    """
    answer = to(path, **query)
    marks.leave(answer, path, word)
    return answer


DoneOf = Annotated[str, Depends(marks.read)]
