"""The last part of a path, where it says what is to be done."""

from enum import StrEnum
from typing import TypeVar

from lifecycle.errors import Code, LifecycleError

_LONGEST = 300

Verb = TypeVar("Verb", bound=StrEnum)


def known(verbs: type[Verb], text: str, path: str) -> Verb:
    """The verb that a path ends with. A form must never do something because its address is misspelt.

    Args:
        verbs: those that the page knows.
        text: what stands in the path.
        path: without the verb, for the refusal.

    Raises:
        LifecycleError: `not_found` for any other.
    """
    try:
        return verbs(text)
    except ValueError as error:
        raise LifecycleError(Code.NOT_FOUND, path=f"{path}/{text}"[:_LONGEST]) from error
