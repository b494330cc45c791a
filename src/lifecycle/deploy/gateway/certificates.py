"""The certificates that HAProxy answers TLS with, and those by which a CA sees that a domain is ours (TLS-ALPN-01).

As with routes, files come first, then HAProxy's socket; nothing is reloaded.
"""

import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

from cryptography import x509

from lifecycle.deploy.gateway import probe
from lifecycle.deploy.gateway.bundles import Bundle, UnusableCertificateError, checked, checked_proof
from lifecycle.deploy.gateway.files import Folder, text_of
from lifecycle.deploy.gateway.listing import Entries, Entry
from lifecycle.deploy.gateway.model import Applied, Difference, Differences, GatewayDownError, Stale
from lifecycle.deploy.gateway.offers import Live, Offers
from lifecycle.deploy.gateway.runtime import Runtime
from lifecycle.deploy.gateway.shelf import Shelf
from lifecycle.deploy.gateway.threads import Threads

T = TypeVar("T")

CERTIFICATES, CHALLENGES = "certificates", "challenges"

_AT_ONCE = 32  # certificates that are changed while nobody else may change anything; some milliseconds each
_log = logging.getLogger(__name__)
_LISTENS = re.compile(r"^ *# TLS comes in at (\S+):(\d+)$", re.MULTILINE)
_HERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}  # noqa: S104  replaced, not listened at


class Certificates:
    """The certificates of one HAProxy. Several processes may change them at a time.

    Args:
        folder: made by `write_configuration`.
        runtime: HAProxy's sockets.
        threads: in which changes are made.
        timeout: longest time for a change.
        sweep_timeout: longest time for a comparison, reading of the database not included.
    """

    def __init__(
        self, folder: Folder, runtime: Runtime, threads: Threads, *, timeout: timedelta, sweep_timeout: timedelta
    ) -> None:
        self._folder = folder
        self._threads = threads
        self._offers = Offers(Shelf(folder, CERTIFICATES), runtime)
        self._challenges = Offers(Shelf(folder, CHALLENGES), runtime)
        self._timeout = timeout.total_seconds()
        self._sweep_timeout = sweep_timeout.total_seconds()

    def address(self) -> tuple[str, int] | None:
        """Host and port at which visitors with TLS are reached from this machine; None when the gateway takes no TLS.

        Such a gateway is told nothing: its certificates are only written, and compared, as files.
        """
        found = _LISTENS.search(text_of(self._folder.path / "haproxy.cfg"))
        return (_HERE.get(found[1], found[1].strip("[]")), int(found[2])) if found else None

    async def install(self, bundle: Bundle, *, force: bool = False) -> Applied | Stale:
        """Serve a certificate; on return every new handshake gets it. May be repeated.

        Args:
            bundle: takes the place of the one with its name.
            force: also when that one is newer.

        Returns:
            `Stale` when a newer version is there, and nothing was done. Both count versions as generations.

        Raises:
            UnusableCertificateError: it cannot be served; the former one goes on.
            GatewayDownError: HAProxy does not answer. The files are written, so it serves it when it is started
                again, or when this is repeated; unless the message speaks of the lock.
        """
        return await self._threads.run(self._timeout, lambda deadline: self._install(bundle, deadline, force=force))

    async def remove(self, name: str) -> None:
        """Serve the certificate of this name no longer, and destroy its key here. May be repeated.

        Raises:
            GatewayDownError: as in `install`.
        """
        await self._threads.run(self._timeout, lambda deadline: self._remove(name, deadline))

    async def answer_challenge(self, hostname: str, pem: bytes) -> None:
        """Serve this certificate to whoever asks for `hostname` by `acme-tls/1` (RFC 8737, 3), and to nobody else.

        Args:
            hostname: not a wildcard; for an IP address, its name below `arpa` (RFC 8738, 6).
            pem: the certificate of the challenge, and its key.

        Raises:
            UnusableCertificateError: it cannot be served.
            GatewayDownError: as in `install`; or the gateway was set up without TLS-ALPN-01.
        """
        bundle = Bundle(name=hostname, version=0, pem=pem, names=(hostname,))
        await self._threads.run(self._timeout, lambda deadline: self._answer(bundle, deadline))

    async def withdraw_challenge(self, hostname: str) -> None:
        """Forget what `answer_challenge` was given; fine when that is nothing.

        Raises:
            GatewayDownError: as in `install`.
        """
        await self._threads.run(self._timeout, lambda deadline: self._withdraw(hostname, deadline))

    async def serial(self, hostname: str, *, timeout: timedelta) -> str | None:  # noqa: ASYNC109  a bound, not a wish
        """The serial of the certificate that visitors get, in lower-case hexadecimal, be it valid or not.

        Args:
            hostname: that the visitor asks for; for a wildcard, a host below it is taken.
            timeout: for connection and handshake.

        Returns:
            None when no certificate is for this name, so that the visitor gets the default one.

        Raises:
            GatewayDownError: nobody answers, or not with a handshake.
        """
        address = self.address()
        if address is None:
            raise GatewayDownError("the gateway takes no TLS; see 'lifecycle gateway --listen-tls'")
        served = await probe.certificate(*address, hostname.replace("*", "lifecycle-probe", 1), timeout=timeout)
        default = self._offers.shelf.default()
        if default and ssl.PEM_cert_to_DER_cert(default.partition("-----BEGIN PRIVATE")[0]) == served:
            return None
        return f"{x509.load_der_x509_certificate(served).serial_number:x}"

    async def compare(self, read: Callable[[], Awaitable[Mapping[str, int]]]) -> Differences:
        """What differs between the database and the files, and between the files and HAProxy.

        Args:
            read: gives the wanted version of every certificate, by name. It is called after a look at the files, by
                which is known what changed meanwhile.

        Raises:
            GatewayDownError: HAProxy does not answer.
        """
        look = await self._look(read)
        live = await self._live()
        return Differences((*look.found, *live.differences(CERTIFICATES)), look.overtaken)

    async def synchronise(
        self,
        read: Callable[[], Awaitable[Mapping[str, int]]],
        open_bundle: Callable[[str], Awaitable[Bundle | None]],
    ) -> Differences:
        """Make files and HAProxy as the database has it; returns what was different.

        A certificate that cannot be served is left out, logged, and found again the next time.

        Args:
            read: as in `compare`.
            open_bundle: gives the wanted certificate of a name; None when there is none any more. It is asked only for
                those whose files are not as they should be.

        Raises:
            GatewayDownError: HAProxy does not answer. The files are mended, unless the message speaks of the lock.
        """
        look = await self._look(read)
        for names in _batches(look.concerned):
            bundles = {name: await open_bundle(name) if name in look.wanted else None for name in names}
            await self._threads.run(self._sweep_timeout, partial(self._mend, bundles, look))
        if look.found:
            await self._threads.run(self._timeout, self._locked(lambda _: self._offers.shelf.tidy()))
        live = await self._live()
        if live != Live():
            for some in _batches((*live.changed, *live.missing)):
                part = Live(
                    missing=tuple(set(live.missing).intersection(some)),
                    changed=tuple(set(live.changed).intersection(some)),
                )
                await self._threads.run(self._sweep_timeout, self._locked(partial(self._offers.give, part)))
            await self._threads.run(self._sweep_timeout, self._locked(self._offers.settle))
        return Differences((*look.found, *live.differences(CERTIFICATES)), look.overtaken)

    def _install(self, bundle: Bundle, deadline: float, *, force: bool) -> Applied | Stale:
        pem = checked(bundle)
        with self._folder.locked(deadline):
            former = self._offers.shelf.entries().get(bundle.name)
            if former is not None and former.version > bundle.version and not force:
                return Stale(newest=former.version)
            self._offers.change({_entry(bundle): pem}, (), deadline if self.address() else None)
        return Applied(generation=bundle.version)

    def _answer(self, bundle: Bundle, deadline: float) -> None:
        pem = checked_proof(bundle)
        with self._folder.locked(deadline):
            self._challenges.change({_entry(bundle): pem}, (), deadline)

    def _remove(self, name: str, deadline: float) -> None:
        with self._folder.locked(deadline):
            self._offers.change({}, (name,), deadline if self.address() else None)

    def _withdraw(self, hostname: str, deadline: float) -> None:
        with self._folder.locked(deadline):
            self._challenges.change({}, (hostname,), deadline)

    async def _live(self) -> Live:
        live = await self._threads.run(self._sweep_timeout, self._look_at_haproxy)
        if live != Live():
            # Without the lock, a change that was on its way looks like a difference.
            live = await self._threads.run(self._sweep_timeout, self._locked(self._look_at_haproxy))
        return live

    def _look_at_haproxy(self, deadline: float) -> Live:
        return self._offers.look(deadline) if self.address() else Live()

    async def _look(self, read: Callable[[], Awaitable[Mapping[str, int]]]) -> "_Look":
        before = await self._threads.run(self._timeout, lambda _: self._offers.shelf.entries())
        wanted = await read()
        return await self._threads.run(self._sweep_timeout, lambda _: self._look_at_files(wanted, before))

    def _look_at_files(self, wanted: Mapping[str, int], before: Entries) -> "_Look":
        seen = self._offers.shelf.entries()
        overtaken = {
            name
            for name, entry in seen.items()
            if (name not in before or before[name].version != entry.version) and wanted.get(name, -1) < entry.version
        }
        found: list[Difference] = []
        for name in sorted((wanted.keys() | seen.keys()) - overtaken):
            want, have = wanted.get(name), seen[name].version if name in seen else None
            if want != have:
                found.append(Difference("files", CERTIFICATES, name, _text(want), _text(have)))
        known = {one.key for one in found}
        found += [one for one in self._offers.shelf.damages() if one.key not in known | overtaken]
        concerned = tuple(one.key for one in found if one.key in wanted or one.key in seen)
        return _Look(tuple(found), concerned, wanted, seen, tuple(sorted(overtaken)))

    def _mend(self, bundles: Mapping[str, Bundle | None], look: "_Look", deadline: float) -> None:
        """Bring these certificates into the files; None removes one, unless it is wanted."""
        texts: dict[Entry, str] = {}
        for bundle in filter(None, bundles.values()):
            try:
                texts[_entry(bundle)] = checked(bundle)
            except UnusableCertificateError as error:
                _log.warning("the certificate of %s cannot be served: %s", bundle.name, error)
        with self._folder.locked(deadline):
            present = self._offers.shelf.entries()
            # What was changed since was changed by somebody who knew more.
            put = {one: text for one, text in texts.items() if present.get(one.name) == look.seen.get(one.name)}
            take = [name for name in bundles if name not in look.wanted and present.get(name) == look.seen.get(name)]
            try:
                self._offers.change(put, take, None)
            except UnusableCertificateError:
                self._offers.change({}, take, None)
                self._put_singly(put)

    def _put_singly(self, put: Mapping[Entry, str]) -> None:
        for entry, text in put.items():
            try:
                self._offers.change({entry: text}, (), None)
            except UnusableCertificateError as error:
                _log.warning("the certificate of %s cannot be served: %s", entry.name, error)

    def _locked(self, work: Callable[[float], T]) -> Callable[[float], T]:
        def under_the_lock(deadline: float) -> T:
            with self._folder.locked(deadline):
                return work(deadline)

        return under_the_lock


class _Look(NamedTuple):
    """What the files have otherwise than the database.

    Attributes:
        found: all of it.
        concerned: names of certificates that must be written or removed.
        wanted: versions, by name.
        seen: what the files had.
        overtaken: names that were changed while the database was read.
    """

    found: tuple[Difference, ...]
    concerned: tuple[str, ...]
    wanted: Mapping[str, int]
    seen: Entries
    overtaken: tuple[str, ...]


def _batches(items: Collection[T]) -> Iterator[Collection[T]]:
    rest = iter(items)
    while some := tuple(islice(rest, _AT_ONCE)):
        yield some


def _entry(bundle: Bundle) -> Entry:
    return Entry(bundle.name, bundle.version, "", bundle.names)


def _text(version: int | None) -> str | None:
    return None if version is None else str(version)
