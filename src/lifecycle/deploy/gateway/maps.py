"""The text of HAProxy's map files: one `key value` a line. Pure.

A change is cut into the text, which stays as it is around it: with 10,000 lines, taking them apart and putting
them together again would be most of the time of a switch.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

HOSTS, TARGETS, GENERATIONS = "hosts", "targets", "generations"
TABLES = (HOSTS, TARGETS, GENERATIONS)
SINGLE = "single"
"""The backend of deployments with one instance."""

# Also the line break before the first key, by which keys are found.
_FIRST_LINE = "# Written by Lifecycle; changes made here are lost.\n"
_FEW = 64  # keys; for more, the whole text is made anew


class Target(NamedTuple):
    """Where the requests for a deployment go.

    Attributes:
        project: that it belongs to.
        backend: `single`, or the pool that is its own.
        seats: the addresses, in a pool by number of the server; an empty one has no instance.
    """

    project: str
    backend: str
    seats: tuple[str, ...]

    @classmethod
    def parse(cls, value: str) -> Self | None:
        """What a line of targets.map says; None when it cannot be read."""
        project, _, rest = value.partition("/")
        backend, _, seats = rest.partition("/")
        return cls(project, backend, tuple(seats.split(","))) if seats else None

    def __str__(self) -> str:
        return f"{self.project}/{self.backend}/{','.join(self.seats)}"


def owner(value: str) -> str:
    """The project in a value of hosts.map or targets.map."""
    return value.partition("/")[0]


def whole(text: str) -> str:
    """`text` with the first line that the other functions rely on."""
    return text if text.startswith(_FIRST_LINE) and text.endswith("\n") else f"{_FIRST_LINE}{text}\n"


def parse(text: str) -> dict[str, str]:
    """Every key with its value. As in HAProxy, the first of two equal keys counts."""
    pairs = (line.split(None, 1) for line in reversed(text.splitlines()))
    # A line with a key alone has an empty value in HAProxy too.
    return {pair[0]: pair[1].rstrip() if pair[1:] else "" for pair in pairs if pair and not pair[0].startswith("#")}


def render(entries: Mapping[str, str]) -> str:
    """The text of these entries."""
    return _FIRST_LINE + "".join(f"{key} {entries[key]}\n" for key in sorted(entries))


def find(text: str, key: str) -> str | None:
    """The value of `key` in a text of ours."""
    start = text.find(f"\n{key} ")
    return None if start < 0 else text[start + len(key) + 2 : text.index("\n", start + 1)]


def spliced(text: str, changes: Mapping[str, str | None]) -> str:
    """A text of ours after these changes; None removes a key."""
    if len(changes) > _FEW:
        entries = {**parse(text), **changes}
        return render({key: value for key, value in entries.items() if value is not None})
    for key, value in changes.items():
        line = "" if value is None else f"{key} {value}\n"
        start = text.find(f"\n{key} ") + 1
        text = f"{text[:start]}{line}{text[text.index(chr(10), start) + 1 :]}" if start else text + line
    return text
