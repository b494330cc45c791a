"""Which deployment has which pool, a backend that was made before it was needed. Pure.

HAProxy can give a running backend other servers, but cannot get another backend without a reload; so there are more
of them than are in use. Who has which is in targets.map. The rest, how many there are and since when each is free,
is in comments of pools.cfg, which is made of both.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from lifecycle.deploy.gateway.maps import SINGLE, Target

# A request whose first attempt failed looks for another server of the same pool. Until the last such request is
# done, the pool must not belong to somebody else: three retries of `timeout connect`, and `timeout queue`.
_REST = timedelta(minutes=1)

_EMPTY_SEAT = "0.0.0.0:1 disabled"
_SIZE = re.compile(r"^# (\d+) pools of (\d+) servers$", re.MULTILINE)
_FREE = re.compile(r"^# pool-(\d+) is free since (\d+)$", re.MULTILINE)
_NAME = re.compile(r"pool-(\d+)")

_HEADER = """\
# Written by Lifecycle; changes made here are lost.
# {count} pools of {slots} servers
"""
_BACKEND = """
backend {name}
    balance leastconn
    http-request disable-l7-retry unless METH_GET or {{ method HEAD OPTIONS PUT DELETE }}
    # A server that refuses one connection, or a check, is out until a check succeeds; HAProxy needs nobody for it.
    default-server check inter 1s fastinter 200ms downinter 500ms fall 2 rise 1
    default-server observe layer4 error-limit 1 on-error mark-down
    http-error status 503 content-type "text/html; charset=utf-8" hdr cache-control no-store file {page}
"""


class Pools:
    """All pools and who has them.

    Args:
        count: how many there are.
        slots: servers of each.
        free_since: number of a pool that was in use to the second in which it became free.
    """

    def __init__(self, count: int, slots: int, free_since: Mapping[int, int] | None = None) -> None:
        self.count = count
        self.slots = slots
        self._free_since = dict(free_since or {})
        self._used: dict[int, str] = {}

    @classmethod
    def parse(cls, text: str, *, count: int, slots: int) -> "Pools":
        """What pools.cfg says, without who has them; `count` and `slots` when it says nothing."""
        size = _SIZE.search(text)
        if size is None:
            return cls(count, slots)
        return cls(int(size[1]), int(size[2]), {int(number): int(since) for number, since in _FREE.findall(text)})

    def claim(self, targets: Mapping[str, str]) -> None:
        """Note who has which, from the values of targets.map by deployment; the first of two keeps it."""
        for deployment, value in targets.items():
            target = Target.parse(value)
            if target is not None and (number := _number(target.backend)) and number <= self.count:
                self._used.setdefault(number, deployment)
                self._make_room(len(target.seats))

    def place(
        self, deployment: str, project: str, addresses: Iterable[str], *, former: str | None, now: datetime
    ) -> Target:
        """Where the deployment's requests go from now on.

        It keeps its pool, also with one instance only, and instances keep their server.

        Args:
            deployment: the id.
            project: that it belongs to.
            addresses: of its instances, at least one.
            former: its present value in targets.map.
            now: the present time.
        """
        wanted = list(dict.fromkeys(addresses))
        present = None if former is None else Target.parse(former)
        mine = 0 if present is None else _number(present.backend)
        mine = mine if self._used.get(mine) == deployment else 0
        if len(wanted) == 1 and not mine:
            return Target(project, SINGLE, (wanted[0],))
        seats = _seated(present.seats if present is not None and mine else (), wanted)
        self._make_room(len(seats))
        number = mine or self._take(deployment, now)
        return Target(project, _name(number), seats)

    def release(self, deployment: str, former: str, *, now: datetime) -> None:
        """Take back the pool of a deployment that is removed, if it has one; `former` is its value in targets.map."""
        target = Target.parse(former)
        number = 0 if target is None else _number(target.backend)
        if self._used.get(number) == deployment:
            self._release(number, now)

    def render(self, targets: Mapping[str, str], *, page: str) -> str:
        """The text of pools.cfg.

        Args:
            targets: the values of targets.map by deployment.
            page: the file that is shown when no server answers.
        """
        seats = self.seats(targets)
        parts = [_HEADER.format(count=self.count, slots=self.slots)]
        for number in range(1, self.count + 1):
            name = _name(number)
            if number in self._free_since and number not in self._used:
                parts.append(f"\n# {name} is free since {self._free_since[number]}")
            parts.append(_BACKEND.format(name=name, page=page))
            parts += [
                f"    server s{seat} {address or _EMPTY_SEAT}\n" for seat, address in enumerate(seats[name], start=1)
            ]
        return "".join(parts)

    def seats(self, targets: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """The addresses of every server of every pool, by its backend's name; empty for servers without instance."""
        empty = ("",) * self.slots
        found = {_name(number): empty for number in range(1, self.count + 1)}
        for number, deployment in self._used.items():
            target = Target.parse(targets.get(deployment, ""))
            if target is not None and target.backend == _name(number):
                found[target.backend] = (*target.seats, *empty)[: self.slots]
        return found

    def _make_room(self, seats: int) -> None:
        while self.slots < seats:
            self.slots *= 2

    def _take(self, deployment: str, now: datetime) -> int:
        rested = (now - _REST).timestamp()
        free = [n for n in range(1, self.count + 1) if n not in self._used and self._free_since.get(n, 0) <= rested]
        if free:
            number = min(free, key=lambda n: (self._free_since.get(n, 0), n))
        else:
            number = self.count + 1
            self.count *= 2
        self._used[number] = deployment
        self._free_since.pop(number, None)
        return number

    def _release(self, number: int, now: datetime) -> None:
        del self._used[number]
        self._free_since[number] = int(now.timestamp())


def _seated(former: Iterable[str], wanted: list[str]) -> tuple[str, ...]:
    """The wanted addresses, each where it was if it was there before."""
    seats = [address if address in wanted else "" for address in former]
    for address in wanted:
        if address not in seats:
            if "" in seats:
                seats[seats.index("")] = address
            else:
                seats.append(address)
    while not seats[-1]:
        seats.pop()
    return tuple(seats)


def _name(number: int) -> str:
    return f"pool-{number:04}"


def _number(backend: str) -> int:
    """The number of a pool; 0 for another backend."""
    found = _NAME.fullmatch(backend)
    return int(found[1]) if found else 0
