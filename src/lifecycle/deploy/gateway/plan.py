"""What must be different in the files, and what HAProxy must be told. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from lifecycle.deploy.gateway.maps import GENERATIONS, HOSTS, TABLES, TARGETS, owner
from lifecycle.deploy.gateway.model import Change, Difference, Wanted
from lifecycle.deploy.gateway.pools import Pools

Tables = Mapping[str, Mapping[str, str]]
Edits = Mapping[str, Mapping[str, str | None]]


class Server(NamedTuple):
    """A server of a pool as HAProxy has it. `ready` is what it was told, not whether its checks succeed."""

    address: str
    ready: bool


class Desired(NamedTuple):
    """Everything as it should be.

    Attributes:
        tables: the entries of every map.
        pools: and who has them.
        overtaken: projects whose files are newer than what is wanted; of these everything stays.
    """

    tables: Tables
    pools: Pools
    overtaken: tuple[str, ...]


def edits(change: Change, present: Tables, pools: Pools, *, now: datetime) -> Edits:
    """What a change changes in the maps. Pools are taken and given back in `pools`.

    Args:
        change: what is wanted.
        present: of every table at least the keys that the change names and are there.
        pools: with who has which.
        now: the present time.
    """
    hosts: dict[str, str | None] = {}
    for host, goal in change.hosts.items():
        former = present[HOSTS].get(host)
        if goal is not None:
            hosts[host] = f"{change.project}/{goal}"
        elif former is not None and owner(former) == change.project:
            hosts[host] = None
    targets: dict[str, str | None] = {}
    for deployment, addresses in change.targets.items():
        former = present[TARGETS].get(deployment)
        if addresses:
            placed = pools.place(deployment, change.project, addresses, former=former, now=now)
            targets[deployment] = str(placed)
        elif former is not None:
            pools.release(deployment, former, now=now)
            targets[deployment] = None
    return {HOSTS: hosts, TARGETS: targets, GENERATIONS: {change.project: str(change.generation)}}


def desired(wanted: Wanted, present: Tables, pools: Pools, *, before: Mapping[str, str], now: datetime) -> Desired:
    """What the files should say.

    Args:
        wanted: what the database says.
        present: what the files say.
        pools: with who has which; they are taken and given back.
        before: the generations that the files had before the database was read. A project that has moved on since,
            and past what was read, was read too early.
        now: the present time.
    """
    overtaken = {
        project
        for project, generation in present[GENERATIONS].items()
        if before.get(project) != generation and not _is_known(wanted, project, generation)
    }
    tables: dict[str, dict[str, str]] = {table: {} for table in TABLES}
    for project, routes in wanted.projects.items():
        if project in overtaken:
            continue
        tables[GENERATIONS][project] = str(routes.generation)
        tables[HOSTS].update({host: f"{project}/{goal}" for host, goal in routes.hosts.items()})
        for deployment, addresses in routes.targets.items():
            if addresses:
                former = present[TARGETS].get(deployment)
                placed = pools.place(deployment, project, addresses, former=former, now=now)
                tables[TARGETS][deployment] = str(placed)
    for project in overtaken:
        tables[GENERATIONS][project] = present[GENERATIONS][project]
    for table in (HOSTS, TARGETS):
        tables[table].update({key: value for key, value in present[table].items() if owner(value) in overtaken})
    for deployment, former in present[TARGETS].items():
        if deployment not in tables[TARGETS]:
            pools.release(deployment, former, now=now)
    return Desired(tables, pools, tuple(sorted(overtaken)))


def differences(place: str, wanted: Tables, found: Tables) -> Iterator[Difference]:
    """Each entry of a map that is not as it should be."""
    for table in TABLES:
        if wanted[table] != found[table]:
            for key in sorted(wanted[table].keys() | found[table].keys()):
                want, have = wanted[table].get(key), found[table].get(key)
                if want != have:
                    yield Difference(place, table, key, want, have)


def server_differences(
    wanted: Mapping[str, tuple[str, ...]], found: Mapping[str, Mapping[str, Server]]
) -> Iterator[Difference]:
    """Each server of a pool that HAProxy does not have as it should be."""
    for pool, seats in wanted.items():
        servers = found.get(pool, {})
        for number, address in enumerate(seats, start=1):
            server = servers.get(f"s{number}")
            have = server.address if server is not None and server.ready else ""
            if have != address or server is None:
                yield Difference("haproxy", "pools", f"{pool}/s{number}", address or None, have or None)


def server_commands(pool: str, seats: tuple[str, ...], servers: Mapping[str, Server]) -> Iterator[tuple[str, ...]]:
    """What HAProxy must be told, word by word, so that a pool has these servers and no others."""
    for number, address in enumerate(seats, start=1):
        name = f"{pool}/s{number}"
        server = servers[f"s{number}"]
        moves = bool(address) and address != server.address
        if server.ready and (moves or not address):
            # It forgets how the checks of the former instance went, and closes idle connections to it.
            yield "set", "server", name, "state", "maint"
        if moves:
            host, _, port = address.partition(":")
            yield "set", "server", name, "addr", host, "port", port
        if address and (moves or not server.ready):
            yield "set", "server", name, "state", "ready"


def _is_known(wanted: Wanted, project: str, generation: str) -> bool:
    routes = wanted.projects.get(project)
    return routes is not None and generation.isdecimal() and routes.generation >= int(generation)
