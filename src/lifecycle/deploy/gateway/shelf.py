"""The files of a list of certificates.

The certificate's file comes first, then the list, and what the list no longer names is removed at the end. Whatever
is killed in between, the list names only files that are there, so HAProxy can start.
"""

import ssl
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from lifecycle.deploy.gateway import listing
from lifecycle.deploy.gateway.bundles import UnusableCertificateError
from lifecycle.deploy.gateway.files import Folder, replace, settle, text_of
from lifecycle.deploy.gateway.listing import DEFAULT, Entries, Entry
from lifecycle.deploy.gateway.model import Difference

_OURS_ONLY = 0o600


class Shelf:
    """One list and its files. Whoever writes has the folder's lock.

    Args:
        folder: the gateway's.
        table: the list is `{table}.list`, and its certificates are in the folder `table`.
    """

    def __init__(self, folder: Folder, table: str) -> None:
        self.table = table
        self.list = folder.path / f"{table}.list"
        self.files = folder.path / table
        self._known: tuple[str, dict[str, Entry]] = ("", {})

    def make(self, default: Callable[[], str]) -> None:
        """Make what is not there: the folder, the list, and the default certificate."""
        self.files.mkdir(exist_ok=True)
        self.files.chmod(0o700)
        if not _is_loadable(self.files / DEFAULT):
            replace(self.files / DEFAULT, default(), mode=_OURS_ONLY)
        if not self.list.exists():
            self.write({}, {})

    def entries(self) -> Entries:
        """Every certificate in the list, by name."""
        text = text_of(self.list)
        former, entries = self._known
        if text != former:  # a long one takes a while to read
            entries = listing.parse(text)
            self._known = text, entries
        return entries

    def default(self) -> str:
        """The default certificate and its key."""
        return text_of(self.files / DEFAULT)

    def path(self, entry: Entry) -> str:
        """Its file, which is also its name in HAProxy."""
        return f"{self.files}/{entry.file}"

    def text(self, entry: Entry, entries: Entries) -> str | None:
        """What is in its file; None when that is not what it should be, or others may read it."""
        path = Path(self.path(entry))
        text = text_of(path)
        is_whole = bool(text) and listing.sealed(entry, entries, text) == entry
        return text if is_whole and path.stat().st_mode & 0o077 == 0 else None

    def write(self, entries: Entries, texts: Mapping[str, str], *, touched: Collection[str] | None = None) -> None:
        """Write files and list; on return they survive a loss of power.

        Args:
            entries: all that are in the list.
            texts: of new files, by the name of their entry.
            touched: names of all that differ from what `entries` gave last; None makes the list anew.

        Raises:
            UnusableCertificateError: OpenSSL cannot serve one of them; the list is as it was.
        """
        self.files.mkdir(mode=0o700, exist_ok=True)  # not yet there in a folder of an older release
        new = [Path(self.path(entries[name])) for name in texts]
        for path, text in zip(new, texts.values(), strict=True):
            replace(path, text, mode=_OURS_ONLY)
        if not all(map(_is_loadable, new)):
            self.remove(set(new) - {Path(self.path(entry)) for entry in self.entries().values()})
            raise UnusableCertificateError("OpenSSL cannot serve this certificate; its key may be too short")
        if new:
            settle(self.files)
        former, known = self._known
        # A thread that only looks may have noted an older text meanwhile.
        if touched is None or not known or former != text_of(self.list):
            text = listing.render(entries, str(self.files))
        else:
            text = listing.revised(former, known, entries, touched, str(self.files))
        replace(self.list, text)
        settle(self.list.parent)
        self._known = text, dict(entries)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files that the list does not name; absent ones are fine."""
        for path in paths:
            path.unlink(missing_ok=True)

    def damages(self) -> list[Difference]:
        """What is wrong with the files."""
        entries = self.entries()
        found = [
            Difference("files", self.table, name, str(entry.version), "damaged")
            for name, entry in entries.items()
            if self.text(entry, entries) is None
        ]
        if text_of(self.list) != listing.render(entries, str(self.files)):
            found.append(Difference("files", self.table, self.list.name, "as Lifecycle writes it", "something else"))
        return found + [Difference("files", self.table, path.name, None, "left over") for path in self._foreign()]

    def tidy(self) -> None:
        """Write the list anew, and remove the files that are not in it."""
        self.write(self.entries(), {})
        self.remove(self._foreign())

    def _foreign(self) -> list[Path]:
        if not self.files.exists():
            return []
        known = {DEFAULT, *(entry.file for entry in self.entries().values())}
        return [path for path in sorted(self.files.iterdir()) if path.name not in known]


def _is_loadable(path: Path) -> bool:
    """Whether OpenSSL can serve it; HAProxy uses the same."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return False
    return True
