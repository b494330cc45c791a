"""The text of a list of certificates that HAProxy reads when it starts (its `crt-list`). Pure.

Each certificate has two lines: one for us, which HAProxy takes for a comment, and one with its file and the names for
which HAProxy offers it. The file's name says what is in it, so a file is never changed: a renewed certificate, or one
that is offered for other names, is another file. List and files therefore cannot disagree, and HAProxy changes over
by adding the new one before it forgets the old one.
"""

import base64
import hashlib
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

DEFAULT = "default.pem"
"""The file of the certificate for names that no other one has."""

_FIRST_LINE = "# Written by Lifecycle; changes made here are lost.\n"
_ENTRY = re.compile(r"^#: (\S+) (\d+) ([0-9a-f]+) (\S+)$", re.MULTILINE)
_FILE = re.compile(r".*/([^/]+)\.(\d+)\.[0-9a-f]{16}\.pem")
_LEAF = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END", re.DOTALL)
_FEW = 64  # certificates; for more, the whole text is made anew
_LONGEST = 150  # a file's name may have 255 characters; host names can be longer than what the rest leaves


class Entry(NamedTuple):
    """A certificate in the list.

    Attributes:
        name: under which it is kept.
        version: of it.
        digest: of the text in its file, and of what it is offered for.
        names: for which it could be offered.
    """

    name: str
    version: int
    digest: str
    names: tuple[str, ...]

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name.replace('*', '_')[:_LONGEST]}.{self.version}.{self.digest}.pem"


Entries = Mapping[str, Entry]


def parse(text: str) -> dict[str, Entry]:
    """Every certificate by its name."""
    return {row[0]: Entry(row[0], int(row[1]), row[2], tuple(row[3].split(","))) for row in _ENTRY.findall(text)}


def render(entries: Entries, folder: str) -> str:
    """The text of a list.

    Args:
        entries: by name.
        folder: where the files are.
    """
    # The first is HAProxy's default certificate, and "!*" keeps it from being offered for its own name.
    first = f"{_FIRST_LINE}{folder}/{DEFAULT} !*\n"
    return first + "".join(_lines(entry, entries, folder) for entry in entries.values())


def revised(text: str, former: Entries, entries: Entries, names: Collection[str], folder: str) -> str:
    """The text of a list, made from the one that it had; with thousands of certificates that is much quicker.

    Args:
        text: that it had; what `render` did not make is made anew.
        former: what that names.
        entries: what it shall name.
        names: of all in which these differ.
        folder: where the files are.
    """
    if len(names) > _FEW:
        return render(entries, folder)
    for name in names:
        new = _lines(entries[name], entries, folder) if name in entries else ""
        if name not in former:
            text += new
            continue
        before, old, after = text.partition(_lines(former[name], former, folder))
        if not old:
            return render(entries, folder)
        text = f"{before}{new}{after}"
    return text


def offered(entry: Entry, entries: Entries) -> tuple[str, ...]:
    """The names for which a certificate is offered.

    HAProxy would take whichever of two it has read first. So a name that has a certificate of its own is served with
    that, and with no other.
    """
    return tuple(name for name in entry.names if name == entry.name or name not in entries)


def name_and_version(path: str) -> tuple[str, str]:
    """What a file's name says is in it; of a file that is not ours, the path itself."""
    found = _FILE.fullmatch(path)
    return (found[1].replace("_", "*"), found[2]) if found else (path, "something")


def sealed(entry: Entry, entries: Entries, pem: str) -> Entry:
    """The entry with the digest that it has among these."""
    content = f"{' '.join(entry.names)}\n{' '.join(offered(entry, entries))}\n{pem}"
    return entry._replace(digest=hashlib.sha256(content.encode()).hexdigest()[:16])


def neighbours(entries: Entries, names: Collection[str]) -> list[Entry]:
    """The certificates whose offer changes when those of these names come or go."""
    moved = set(names)
    if not moved:
        return []
    return [one for one in entries.values() if not moved.isdisjoint(one.names) and one.name not in moved]


def fingerprint(pem: str) -> str:
    """SHA-1 of the leaf, as HAProxy shows it."""
    leaf = _LEAF.search(pem)
    # It tells certificates apart and proves nothing.
    der = base64.b64decode(leaf[1]) if leaf else b""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def _lines(entry: Entry, entries: Entries, folder: str) -> str:
    ours = f"#: {entry.name} {entry.version} {entry.digest} {','.join(entry.names)}"
    return f"{ours}\n{folder}/{entry.file} {' '.join(offered(entry, entries))}\n"
