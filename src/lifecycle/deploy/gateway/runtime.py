"""HAProxy's two sockets: the worker's, which takes changes, and the master's, which reloads.

What is told here is in the worker's memory only. Files are written first, by whoever calls this.
"""

import re
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lifecycle.deploy.gateway.model import GatewayDownError
from lifecycle.deploy.gateway.plan import Server

# Whatever came this far was checked where it came in. A word that got past all of that must still not end a command
# and begin another.
_WORD = re.compile(r"[A-Za-z0-9_./:,+-]+")
# The same for a text that follows a command: an empty line would end it.
_TEXT = re.compile(r"(?:[ -~]+\n)+")
_PROMPT = b"\n> "
_TEXT_PROMPTS = re.compile(r"(\+ )*")  # one for each line of a text
_AT_ONCE = 64  # commands that are sent before their answers are read; few, so that neither side waits for the other
_CHUNK = 1 << 16
LONGEST_TEXT = 16_000  # its buffer has 16 KiB (tune.bufsize)

_ADDED = "entry not found."  # the answer of `set map` when the key must be added
_ABSENT = "Key not found."  # the answer of `del map`
_NO_POOL = "Can't find backend."
_MOVED = ("IP changed", "no need to change", "nothing changed")
_VALUE = re.compile(r'found=yes, .*value="([^"]*)"')
_INFO = re.compile(r"^(Version|Pid): (\S+)$", re.MULTILINE)
_IN_MAINTENANCE, _DRAINING = 0x01, 0x08

Words = tuple[str, ...]


class Session:
    """One connection to the worker.

    Args:
        connection: just opened.
        deadline: of everything that is asked, by `time.monotonic()`.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._greeted = False

    def table(self, path: str) -> dict[str, str]:
        """Every entry of a map."""
        (answer,) = self.ask([("show", "map", path)])
        if answer and not answer.startswith("0x"):
            raise GatewayDownError(f"HAProxy does not know {path}; it runs with another configuration: {answer}")
        rows = (line.split(" ", 2) for line in reversed(answer.splitlines()))
        return {row[1]: row[2] for row in rows}

    def value(self, path: str, key: str) -> str | None:
        """One entry of a map."""
        (answer,) = self.ask([("get", "map", path, key)])
        found = _VALUE.search(answer)
        return found[1] if found else None

    def put(self, path: str, entries: Mapping[str, str]) -> None:
        """Set these entries of a map, each at once for all requests that come after it."""
        answers = self.ask([("set", "map", path, key, value) for key, value in entries.items()])
        _check(answers, ("", _ADDED))
        new = [key for key, answer in zip(entries, answers, strict=True) if answer == _ADDED]
        _check(self.ask([("add", "map", path, key, entries[key]) for key in new]), ("",))

    def remove(self, path: str, keys: Collection[str]) -> None:
        """Remove these entries of a map; absent ones are fine."""
        _check(self.ask([("del", "map", path, key) for key in keys]), ("", _ABSENT))

    def servers(self, pools: Collection[str] | None = None) -> dict[str, dict[str, Server]]:
        """The servers of these pools, or of all backends; a pool that is not there is left out."""
        asked: list[Words] = [("show", "servers", "state")]
        if pools is not None:
            asked = [("show", "servers", "state", pool) for pool in pools]
        found: dict[str, dict[str, Server]] = {}
        for answer in self.ask(asked):
            # The first lines are a version and the names of the columns.
            for row in () if answer == _NO_POOL else (line.split(" ") for line in answer.splitlines()[2:]):
                busy = int(row[6]) & (_IN_MAINTENANCE | _DRAINING)
                found.setdefault(row[1], {})[row[3]] = Server(f"{row[4]}:{row[18]}", ready=not busy)
        return found

    def set_servers(self, commands: Iterable[Words]) -> None:
        """Tell it these `set server` commands."""
        answers = self.ask(list(commands))
        _check([answer for answer in answers if not answer.startswith(_MOVED)], ("",))

    def info(self) -> dict[str, str]:
        """`Version`, and the `Pid` of the worker."""
        (answer,) = self.ask([("show", "info")])
        return dict(_INFO.findall(answer))

    def ask(self, commands: Sequence[Words]) -> list[str]:
        """The answers to these commands, without line breaks around them.

        Raises:
            GatewayDownError: no answer in time.
            ValueError: a word that would be more than one; nothing was sent.
        """
        _check_words(word for command in commands for word in command)
        answers: list[str] = []
        for start in range(0, len(commands), _AT_ONCE):
            answers += self._exchange([" ".join(command) for command in commands[start : start + _AT_ONCE]])
        return answers

    def hand_over(self, command: Words, text: str) -> str:
        """The answer to a command with a text, without line breaks around it.

        Args:
            command: its words.
            text: lines of printable ASCII, none of them empty. With the command at most `LONGEST_TEXT` bytes; more, and
                HAProxy closes the connection.

        Raises:
            GatewayDownError: no answer in time.
            ValueError: a word that would be more than one, or a text that would end early; nothing was sent.
        """
        _check_words(command)
        if not _TEXT.fullmatch(text):
            raise ValueError("a text with an empty line or a foreign character must not be sent to HAProxy")
        (answer,) = self._exchange([f"{' '.join(command)} <<\n{text}"])
        return _TEXT_PROMPTS.sub("", answer, count=1)

    def _exchange(self, lines: list[str]) -> list[str]:
        if not self._greeted:
            lines = ["prompt", *lines]
        received = bytearray()
        answered = 0
        self._connection.settimeout(_rest(self._deadline))
        self._connection.sendall("".join(f"{line}\n" for line in lines).encode())
        while answered < len(lines):
            self._connection.settimeout(_rest(self._deadline))
            chunk = self._connection.recv(_CHUNK)
            if not chunk:
                raise GatewayDownError("HAProxy closed its socket before it had answered")
            # A prompt may come in two pieces.
            answered += (received[-len(_PROMPT) + 1 :] + chunk).count(_PROMPT)
            received += chunk
        answers = [part.decode(errors="replace").strip("\n") for part in received.split(_PROMPT)[: len(lines)]]
        if not self._greeted:
            self._greeted = True
            answers = answers[1:]
        return answers


class Runtime:
    """The sockets of one HAProxy.

    Args:
        folder: with `admin.sock` and `master.sock`.
    """

    def __init__(self, folder: Path) -> None:
        self._worker = f"{folder}/admin.sock"
        self._master = f"{folder}/master.sock"

    @contextmanager
    def opened(self, deadline: float) -> Iterator[Session]:
        """A connection to the worker.

        Args:
            deadline: by `time.monotonic()`.

        Raises:
            GatewayDownError: it is not there or did not answer in time.
        """
        with _connected(self._worker, deadline) as connection:
            yield Session(connection, deadline)

    def reload(self, deadline: float) -> None:
        """Let a new worker read all files, and wait until it answers; requests go on meanwhile.

        Raises:
            GatewayDownError: there is no new worker in time. The old one goes on.
        """
        former = self._worker_id(deadline)
        while not self._is_told_to_reload(deadline):
            time.sleep(0.01)  # the master listens again a moment after its last reload
        # For a moment the old one and the new one answer on the same socket.
        while self._worker_id(deadline) == former:
            time.sleep(0.01)

    def _is_told_to_reload(self, deadline: float) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.settimeout(_rest(deadline))
                connection.connect(self._master)
                connection.sendall(b"reload\n")
                connection.recv(_CHUNK)  # it closes the connection
            except ConnectionRefusedError:
                return False
            except OSError as error:
                raise GatewayDownError(f"no answer from HAProxy's master at {self._master}: {error}") from error
        return True

    def _worker_id(self, deadline: float) -> str:
        with self.opened(deadline) as session:
            return session.info()["Pid"]


@contextmanager
def _connected(path: str, deadline: float) -> Iterator[socket.socket]:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_rest(deadline))
            connection.connect(path)
            yield connection
    except OSError as error:  # TimeoutError is one
        raise GatewayDownError(f"no answer from HAProxy at {path}: {error}") from error


def _rest(deadline: float) -> float:
    rest = deadline - time.monotonic()
    if rest <= 0:
        raise TimeoutError("timed out")
    return rest


def _check_words(words: Iterable[str]) -> None:
    for word in words:
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} must not be sent to HAProxy")


def _check(answers: Iterable[str], expected: Collection[str]) -> None:
    for answer in answers:
        if answer not in expected:
            raise GatewayDownError(f"HAProxy refused: {answer}")
