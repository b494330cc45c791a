"""Looks up names that users gave, so that one whose servers never answer holds up nobody but its owner.

The system's look-up cannot be broken off: its thread stays until the system gives up, which can take minutes. So each
one has a thread of its own, of which there are few in all and very few for one owner, and a name is looked up once at
a time for all of its owner's messages. Whoever would be one too many is told at once, and comes back.

One owner alone holds up nobody. Eight whose names all hang fill every place: then names of others wait as well, until
the system gives up on one.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import NamedTuple

_AT_ONCE = 32
_FOR_ONE = 4


class Address(NamedTuple):
    """An IP address of a name."""

    family: socket.AddressFamily
    address: str


class _Wanted(NamedTuple):
    owner: str
    host: str
    family: socket.AddressFamily


LookUp = Callable[[str, socket.AddressFamily], Sequence[Address]]


class LookUpsBusyError(Exception):
    """As many names as may be are being looked up; this one was not."""


def by_system(host: str, family: socket.AddressFamily) -> Sequence[Address]:
    """The addresses of a name, as the system knows them.

    Raises:
        OSError: it has none.
        UnicodeError: it cannot be a name.
    """
    found = socket.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
    return [Address(one[0], str(one[4][0])) for one in found]


class LookUps:
    """The look-ups of one process.

    Args:
        look_up: asks for the addresses of a name, and may block for long.
        at_once: most look-ups at a time.
        for_one: most of them for one owner.
    """

    def __init__(self, look_up: LookUp = by_system, *, at_once: int = _AT_ONCE, for_one: int = _FOR_ONE) -> None:
        self._look_up = look_up
        self._at_once = at_once
        self._for_one = for_one
        self._running: dict[_Wanted, asyncio.Future[Sequence[Address]]] = {}

    async def addresses(
        self, host: str, *, owner: str, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> Sequence[Address]:
        """The addresses of a name. Whoever stops waiting leaves the place taken until the system has given up.

        Args:
            host: the name.
            owner: who wants to know; most often a workspace.
            family: of the addresses.

        Raises:
            LookUpsBusyError: too many are under way, or there are no more threads; it was not asked.
            OSError: it has none.
            UnicodeError: it cannot be a name.
        """
        wanted = _Wanted(owner, host, family)
        running = self._running.get(wanted)
        if running is None:
            of_owner = sum(one.owner == owner for one in self._running)
            if len(self._running) >= self._at_once or of_owner >= self._for_one:
                raise LookUpsBusyError
            running = self._running[wanted] = asyncio.get_running_loop().create_future()
            # A daemon: a look-up that hangs does not keep the process from ending.
            thread = Thread(target=self._work, args=(wanted, running), name="webhook-dns", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no more threads
                del self._running[wanted]
                raise LookUpsBusyError from error
        return await asyncio.shield(running)

    def _work(self, wanted: _Wanted, running: asyncio.Future[Sequence[Address]]) -> None:
        found: Sequence[Address] | Exception
        try:
            found = self._look_up(wanted.host, wanted.family)
        except Exception as error:  # noqa: BLE001  handed to whoever waits
            found = error
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            running.get_loop().call_soon_threadsafe(self._done, wanted, running, found)

    def _done(
        self, wanted: _Wanted, running: asyncio.Future[Sequence[Address]], found: Sequence[Address] | Exception
    ) -> None:
        del self._running[wanted]
        if running.done():
            return
        if isinstance(found, Exception):
            running.set_exception(found)
            running.exception()  # nobody may be waiting any more, which is no news
        else:
            running.set_result(found)
