"""What HAProxy offers of a list of certificates: the files first, then its memory, and both compared."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lifecycle.deploy.gateway import listing
from lifecycle.deploy.gateway.bundles import UnusableCertificateError
from lifecycle.deploy.gateway.listing import Entries, Entry
from lifecycle.deploy.gateway.model import Difference, GatewayDownError
from lifecycle.deploy.gateway.runtime import LONGEST_TEXT, Runtime
from lifecycle.deploy.gateway.served import Line, Served
from lifecycle.deploy.gateway.shelf import Shelf


class Live(NamedTuple):
    """What HAProxy has otherwise than the list.

    Attributes:
        missing: certificates that it does not offer, or not for their names.
        changed: those of which it has another text.
        surplus: lines of its list that should not be there.
        forgotten: files in its memory that are not in the list.
    """

    missing: tuple[Entry, ...] = ()
    changed: tuple[Entry, ...] = ()
    surplus: tuple[Line, ...] = ()
    forgotten: frozenset[str] = frozenset()

    def differences(self, table: str) -> list[Difference]:
        """The same for people."""
        stale: dict[str, list[str]] = {}
        for path in {line.path for line in self.surplus} | self.forgotten:
            name, version = listing.name_and_version(path)
            stale.setdefault(name, []).append(version)
        wanted = {entry.name: str(entry.version) for entry in self.missing}
        return [
            *(Difference("haproxy", table, entry.name, str(entry.version), "another text") for entry in self.changed),
            *(
                Difference("haproxy", table, name, wanted.get(name), ", ".join(sorted(stale.get(name, ()))) or None)
                for name in sorted(wanted.keys() | stale.keys())
            ),
        ]


class Offers:
    """One list of certificates. Whoever changes it has the folder's lock.

    Args:
        shelf: its files.
        runtime: HAProxy's sockets.
    """

    def __init__(self, shelf: Shelf, runtime: Runtime) -> None:
        self.shelf = shelf
        self._runtime = runtime

    def change(self, put: Mapping[Entry, str], take: Collection[str], deadline: float | None) -> None:
        """Offer some certificates, each in the place of the one that has its name, and others no longer.

        Args:
            put: their texts, with the keys. Digests are found here.
            take: names; fine when there is no such certificate.
            deadline: of HAProxy, by `time.monotonic()`; None changes only the files.

        Raises:
            UnusableCertificateError: one cannot be served; everything is as before.
            GatewayDownError: HAProxy does not answer. The files are written.
        """
        former = self.shelf.entries()
        wanted = {name: entry for name, entry in former.items() if name not in take}
        wanted.update({entry.name: entry for entry in put})
        texts = {entry.name: text for entry, text in put.items()}
        for entry in listing.neighbours(
            wanted, [name for name in {*texts, *take} if (name in former) != (name in wanted)]
        ):
            text = None if entry.name in texts else self.shelf.text(entry, former)
            if text is not None:  # else it is found damaged, and mended
                texts[entry.name] = text
        wanted.update({name: listing.sealed(wanted[name], wanted, text) for name, text in texts.items()})
        touched = {*texts, *take}
        gone = [former[name] for name in touched if name in former and wanted.get(name) != former[name]]
        new = {wanted[name]: text for name, text in texts.items() if former.get(name) != wanted[name]}
        self.shelf.write(wanted, texts, touched=touched)
        try:
            if deadline is not None:
                self._tell(wanted, new, gone, deadline)
        except UnusableCertificateError:
            # HAProxy would not start with it either.
            self.shelf.write(former, {})
            gone = list(new)
            raise
        finally:
            self.shelf.remove(Path(self.shelf.path(entry)) for entry in gone)

    def look(self, deadline: float) -> Live:
        """What HAProxy has otherwise than the list.

        Raises:
            GatewayDownError: it does not answer.
        """
        entries = self.shelf.entries()
        wanted = {self.shelf.path(entry): entry for entry in entries.values()}
        with self._runtime.opened(deadline) as session:
            served = Served(session, str(self.shelf.list))
            lines = served.lines()
            stored = served.stored(str(self.shelf.files))
            fingerprints = served.fingerprints(sorted(wanted.keys() & stored))
        right: dict[str, Line] = {}
        for line in lines:
            if line.path in wanted and line.names == listing.offered(wanted[line.path], entries):
                right.setdefault(line.path, line)
        texts = self._texts([wanted[path] for path in right], entries)
        return Live(
            missing=tuple(entry for path, entry in wanted.items() if path not in right),
            changed=tuple(
                entry
                for entry, text in texts.items()
                if fingerprints.get(self.shelf.path(entry)) != listing.fingerprint(text)
            ),
            surplus=tuple(line for line in lines if right.get(line.path) != line),
            forgotten=frozenset(stored - wanted.keys()),
        )

    def give(self, live: Live, deadline: float) -> None:
        """Bring what is missing and changed to HAProxy, as far as it fits into a command and is still wanted.

        Raises:
            GatewayDownError: it does not answer, or refuses a certificate.
        """
        entries = self.shelf.entries()
        wanted = [entry for entry in (*live.changed, *live.missing) if entries.get(entry.name) == entry]
        with self._runtime.opened(deadline) as session:
            served = Served(session, str(self.shelf.list))
            refused = []
            for entry, text in self._texts(wanted, entries).items():
                if self._is_long(entry, text):
                    continue
                try:
                    served.make(self.shelf.path(entry))
                    served.load(self.shelf.path(entry), text)
                    if entry in live.missing:
                        served.enlist(self.shelf.path(entry), listing.offered(entry, entries))
                except UnusableCertificateError as error:
                    refused.append(f"{entry.name}: {error}")
        if refused:
            raise GatewayDownError("; ".join(refused))

    def settle(self, deadline: float) -> None:
        """Make HAProxy as the list is, in whatever state it was.

        Raises:
            GatewayDownError: it does not answer, or refuses a certificate.
        """
        live = self.look(deadline)
        if self._has_long(live):
            self._runtime.reload(deadline)
            live = self.look(deadline)
            if self._has_long(live):
                raise GatewayDownError(f"HAProxy did not take {self.shelf.list}; see its log")
        self.give(live, deadline)
        # Last, so that no name is without a certificate in between.
        known = {self.shelf.path(entry) for entry in self.shelf.entries().values()}
        with self._runtime.opened(deadline) as session:
            served = Served(session, str(self.shelf.list))
            served.drop_lines(live.surplus)
            served.forget(({line.path for line in live.surplus} | live.forgotten) - known)

    def _tell(self, entries: Entries, new: Mapping[Entry, str], gone: Collection[Entry], deadline: float) -> None:
        is_simple = bool(new or gone) and not any(self._is_long(entry, text) for entry, text in new.items())
        if is_simple:
            with self._runtime.opened(deadline) as session:
                is_simple = self._exchange(Served(session, str(self.shelf.list)), entries, new, gone)
        if not is_simple:
            # Nothing is new, or somebody was killed in the middle of an earlier change.
            self.settle(deadline)

    def _exchange(self, served: Served, entries: Entries, new: Mapping[Entry, str], gone: Collection[Entry]) -> bool:
        """Add, then drop; False when HAProxy did not have what was expected."""
        try:
            for entry, text in new.items():
                if not served.make(self.shelf.path(entry)):
                    return False
                served.load(self.shelf.path(entry), text)
                served.enlist(self.shelf.path(entry), listing.offered(entry, entries))
        except UnusableCertificateError:
            for entry in new:
                served.drop(self.shelf.path(entry))
            raise
        dropped = [served.drop(self.shelf.path(entry)) for entry in gone]
        return all(dropped)

    def _texts(self, some: Iterable[Entry], entries: Entries) -> dict[Entry, str]:
        """What is in their files, of those that are as they should be."""
        texts = {entry: self.shelf.text(entry, entries) for entry in some}
        return {entry: text for entry, text in texts.items() if text is not None}

    def _has_long(self, live: Live) -> bool:
        texts = self._texts((*live.changed, *live.missing), self.shelf.entries())
        return any(self._is_long(entry, text) for entry, text in texts.items())

    def _is_long(self, entry: Entry, text: str) -> bool:
        """Whether it does not fit into a command, so that HAProxy must read it from the files."""
        longest = max(len(text), sum(len(name) + 1 for name in entry.names))
        return longest + 2 * len(self.shelf.path(entry)) + 100 > LONGEST_TEXT
