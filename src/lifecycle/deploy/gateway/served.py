"""The certificates that the running HAProxy has, and the commands that change them."""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from lifecycle.deploy.gateway.bundles import UnusableCertificateError
from lifecycle.deploy.gateway.listing import DEFAULT
from lifecycle.deploy.gateway.model import GatewayDownError
from lifecycle.deploy.gateway.runtime import Session

_LINE = re.compile(r"^(/\S+):(\d+)(?: \[[^]]*\])?((?: \S+)*)$", re.MULTILINE)
_FINGERPRINT = re.compile(r"^SHA1 FingerPrint: ([0-9A-F]+)$", re.MULTILINE)
# HAProxy has one unfinished change of a certificate at a time. Text for another file would be taken for that one's.
_UNFINISHED = re.compile(r"(?:updated for certificate |transaction is about ')([^\s'!]+)")
_SUCCESS = "Success!"
_KNOWN = "already exists!"
_ABSENT = "exist!"
_DROPPED = "'!"  # Entry '...' deleted in crtlist '...'!


class Line(NamedTuple):
    """A certificate in HAProxy's list: its file, the number of the line, and the names for which it is offered."""

    path: str
    number: int
    names: tuple[str, ...]


class Served:
    """One list of certificates in the running HAProxy.

    Args:
        session: a connection to it.
        path: of the list, which is also its name in HAProxy.
    """

    def __init__(self, session: Session, path: str) -> None:
        self._session = session
        self._path = path

    def lines(self) -> list[Line]:
        """What is in the list, the default certificate not included.

        Raises:
            GatewayDownError: it has no such list.
        """
        (answer,) = self._session.ask([("show", "ssl", "crt-list", "-n", self._path)])
        if not answer.startswith("# "):
            raise GatewayDownError(f"HAProxy does not know {self._path}; it runs with another configuration: {answer}")
        found = [Line(path, int(number), tuple(names.split())) for path, number, names in _LINE.findall(answer)]
        return [line for line in found if not line.path.endswith(f"/{DEFAULT}")]

    def stored(self, folder: str) -> set[str]:
        """The files of this folder that it has in memory, listed or not; the default certificate not included."""
        (answer,) = self._session.ask([("show", "ssl", "cert")])
        return {one for one in answer.splitlines() if one.startswith(f"{folder}/") and not one.endswith(f"/{DEFAULT}")}

    def fingerprints(self, paths: Collection[str]) -> dict[str, str]:
        """SHA-1 of the leaf of each of these files, as far as it has them."""
        answers = self._session.ask([("show", "ssl", "cert", path) for path in paths])
        found = {path: _FINGERPRINT.search(answer) for path, answer in zip(paths, answers, strict=True)}
        return {path: one[1] for path, one in found.items() if one is not None}

    def make(self, path: str) -> bool:
        """Make an empty file in its memory; False when there is one, with whatever in it."""
        (answer,) = self._session.ask([("new", "ssl", "cert", path)])
        return not answer.endswith(_KNOWN)

    def load(self, path: str, pem: str) -> None:
        """Fill a file in its memory; where it is offered, that counts at once.

        Raises:
            UnusableCertificateError: HAProxy does not take it.
        """
        command = ("set", "ssl", "cert", path)
        answer = self._session.hand_over(command, pem)
        unfinished = _UNFINISHED.search(answer)
        if unfinished is not None and unfinished[1] != path:
            # Whoever began it was killed in the middle: changes of ours are made under the lock.
            self._session.ask([("abort", "ssl", "cert", unfinished[1])])
            answer = self._session.hand_over(command, pem)
        if not answer.endswith(f" for certificate {path}!"):
            raise UnusableCertificateError(f"HAProxy does not take the certificate: {answer}")
        (answer,) = self._session.ask([("commit", "ssl", "cert", path)])
        if not answer.endswith(_SUCCESS):
            self._session.ask([("abort", "ssl", "cert", path)])
            raise UnusableCertificateError(f"HAProxy does not take the certificate: {answer}")

    def enlist(self, path: str, names: Iterable[str]) -> None:
        """Offer a file that was filled for these names, at once for all handshakes that come after it.

        Raises:
            UnusableCertificateError: HAProxy does not take it.
            GatewayDownError: it has no such list.
        """
        answer = self._session.hand_over(("add", "ssl", "crt-list", self._path), f"{path} {' '.join(names)}\n")
        if f"crt-list '{self._path}' does not exist" in answer:
            raise GatewayDownError(f"HAProxy does not know {self._path}; it runs with another configuration: {answer}")
        if not answer.endswith(_SUCCESS):
            raise UnusableCertificateError(f"HAProxy does not take the certificate: {answer}")

    def drop(self, path: str) -> bool:
        """Forget a certificate; False when it was not in the list, or more than once."""
        answer, _ = self._session.ask([("del", "ssl", "crt-list", self._path, path), ("del", "ssl", "cert", path)])
        return answer.endswith(_DROPPED)

    def drop_lines(self, lines: Iterable[Line]) -> None:
        """Offer these lines no longer; their files stay in its memory."""
        commands = [("del", "ssl", "crt-list", self._path, f"{line.path}:{line.number}") for line in lines]
        _check(self._session.ask(commands))

    def forget(self, paths: Iterable[str]) -> None:
        """Remove files that are in no list from its memory."""
        _check(self._session.ask([("del", "ssl", "cert", path) for path in paths]))


def _check(answers: Iterable[str]) -> None:
    for answer in answers:
        if not answer.endswith(("deleted!", _DROPPED, _ABSENT)):
            raise GatewayDownError(f"HAProxy refused: {answer}")
