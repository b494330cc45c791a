"""What HAProxy serves: changed by one project at a time, and mended as a whole.

    files, under a lock ──> HAProxy's socket ──> the generation, read back

Files come first, so that HAProxy alone, started again by whoever, serves the same. The lock is kept until HAProxy has
the change as well, so that two workers never leave it with the older one.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from lifecycle import clock
from lifecycle.deploy.gateway import maps, plan
from lifecycle.deploy.gateway.certificates import Certificates
from lifecycle.deploy.gateway.files import Folder
from lifecycle.deploy.gateway.maps import GENERATIONS, HOSTS, TABLES, TARGETS
from lifecycle.deploy.gateway.model import Applied, Change, Difference, Differences, GatewayDownError, Stale, Wanted
from lifecycle.deploy.gateway.plan import Desired, Edits, Server
from lifecycle.deploy.gateway.pools import Pools
from lifecycle.deploy.gateway.runtime import Runtime, Session
from lifecycle.deploy.gateway.threads import Threads

Seats = Mapping[str, tuple[str, ...]]


class Gateway:
    """One HAProxy, in `folder` on this machine. Several processes may change it at a time.

    Args:
        folder: made by `write_configuration`.
        pools: how many deployments may have several instances until more pools are made, which needs a reload.
        slots: how many instances such a deployment may have until a reload is needed.
        timeout: longest time for a change.
        sweep_timeout: longest time for a comparison, reading of the database not included.

    Attributes:
        certificates: what it answers TLS with.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pools: int = 64,
        slots: int = 8,
        timeout: timedelta = timedelta(seconds=5),
        sweep_timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        self._folder = Folder(folder, pools=pools, slots=slots)
        self._runtime = Runtime(folder)
        self._timeout = timeout.total_seconds()
        self._sweep_timeout = sweep_timeout.total_seconds()
        self._threads = Threads()
        self.certificates = Certificates(
            self._folder, self._runtime, self._threads, timeout=timeout, sweep_timeout=sweep_timeout
        )

    async def apply(self, change: Change) -> Applied | Stale:
        """Carry out a change; on return every new request follows it. May be repeated.

        Raises:
            ValidationError: the change was made without validation, and would not have passed.
            GatewayDownError: HAProxy does not answer. The files are written, so it follows the change when it is
                started again, or when this is repeated; unless the message speaks of the lock.
        """
        # Once more, for a change that was put together without being checked: a line break would reach the files.
        checked = Change.model_validate(change.model_dump())
        return await self._threads.run(self._timeout, lambda deadline: self._apply(checked, deadline))

    async def compare(self, read: Callable[[], Awaitable[Wanted]]) -> Differences:
        """What differs between the database, the files and HAProxy.

        Args:
            read: reads the database. It is called after a look at the files, by which is known what changed meanwhile.

        Raises:
            GatewayDownError: HAProxy does not answer.
        """
        return await self._sweep(read, self._compare)

    async def synchronise(self, read: Callable[[], Awaitable[Wanted]]) -> Differences:
        """Make the files and HAProxy as the database has it; returns what was different.

        Args:
            read: as in `compare`.

        Raises:
            GatewayDownError: HAProxy does not answer. The files are mended, unless the message speaks of the lock.
        """
        return await self._sweep(read, self._mend)

    async def generation(self, project: str) -> int | None:
        """The newest change of the project that HAProxy serves.

        Raises:
            GatewayDownError: it does not answer.
        """
        return await self._threads.run(self._timeout, lambda deadline: self._generation(project, deadline))

    async def generations(self) -> Mapping[str, int]:
        """The newest change of every project that HAProxy serves.

        Raises:
            GatewayDownError: it does not answer.
        """
        return await self._threads.run(self._timeout, self._generations)

    async def version(self) -> str:
        """HAProxy's version.

        Raises:
            GatewayDownError: it does not answer.
        """
        return await self._threads.run(self._timeout, self._version)

    async def close(self) -> None:
        """Let go of the threads; what was begun is finished."""
        await self._threads.close()

    async def _sweep(
        self,
        read: Callable[[], Awaitable[Wanted]],
        work: Callable[[Wanted, Mapping[str, str], float], Differences],
    ) -> Differences:
        before = await self._threads.run(self._timeout, lambda _: maps.parse(self._folder.read(GENERATIONS)))
        wanted = await read()
        return await self._threads.run(self._sweep_timeout, lambda deadline: work(wanted, before, deadline))

    def _apply(self, change: Change, deadline: float) -> Applied | Stale:
        with self._folder.locked(deadline):
            concerned = {GENERATIONS: True, HOSTS: change.hosts, TARGETS: change.targets}
            texts = {table: self._folder.read(table) for table, needed in concerned.items() if needed}
            newest = maps.find(texts[GENERATIONS], change.project)
            if newest is not None and newest.isdecimal() and int(newest) > change.generation:
                return Stale(newest=int(newest))
            edits, seats = self._write(change, texts)
            self._tell(edits, seats, deadline)
            confirmed = self._generation(change.project, deadline)
        if confirmed != change.generation:
            raise GatewayDownError(f"HAProxy has generation {confirmed} of {change.project}, not {change.generation}")
        return Applied(generation=change.generation)

    def _write(self, change: Change, texts: Mapping[str, str]) -> tuple[Edits, Seats]:
        """Bring a change into the files; returns it with the servers of the pools that it concerns."""
        present = {
            table: {key: value for key in keys if (value := maps.find(texts[table], key)) is not None}
            for table, keys in ((HOSTS, change.hosts), (TARGETS, change.targets))
        }
        former = {target.backend for value in present[TARGETS].values() if (target := maps.Target.parse(value))}
        several = any(addresses and len(addresses) > 1 for addresses in change.targets.values())
        pools = None
        if several or former - {maps.SINGLE}:
            pools = self._folder.read_pools()
            pools.claim(maps.parse(texts[TARGETS]))
        edits = plan.edits(change, present, pools or Pools(0, 1), now=clock.now())
        new = {table: maps.spliced(text, edits[table]) for table, text in texts.items()}
        changed = {table: text for table, text in new.items() if text != texts[table]}
        if pools is None:
            self._folder.write(changed, None, {})
            return edits, {}
        targets = maps.parse(new[TARGETS])
        self._folder.write(changed, pools, targets)
        placed = (maps.Target.parse(value) for value in edits[TARGETS].values() if value is not None)
        concerned = former | {target.backend for target in placed if target}
        return edits, {pool: seats for pool, seats in pools.seats(targets).items() if pool in concerned}

    def _tell(self, edits: Edits, seats: Seats, deadline: float) -> None:
        """Bring changes into HAProxy, which has to be reloaded when it lacks a pool or a server of one.

        A reload fails no request, but closes idle connections of visitors. HAProxy could keep them, and would then
        answer one more request on each as it was before the reload, which is worse.
        """
        with self._runtime.opened(deadline) as session:
            servers = session.servers(seats)
            if _has_room(servers, seats):
                self._carry_out(session, edits, seats, servers)
                return
        self._runtime.reload(deadline)
        with self._runtime.opened(deadline) as session:
            servers = session.servers(seats)
            if not _has_room(servers, seats):
                raise GatewayDownError(f"HAProxy did not take {self._folder.path}/pools.cfg; see its log")
            self._carry_out(session, edits, seats, servers)

    def _carry_out(
        self, session: Session, edits: Edits, seats: Seats, servers: Mapping[str, Mapping[str, Server]]
    ) -> None:
        """In an order in which no request is sent to where nobody is, or to where somebody else is."""

        def tell(*, used: bool) -> None:
            session.set_servers(
                command
                for pool, wanted in seats.items()
                if any(wanted) == used
                for command in plan.server_commands(pool, wanted, servers[pool])
            )

        def put(table: str) -> None:
            new = {key: value for key, value in edits[table].items() if value is not None}
            session.put(self._folder.map_path(table), new)

        def remove(table: str) -> None:
            gone = [key for key, value in edits[table].items() if value is None]
            session.remove(self._folder.map_path(table), gone)

        tell(used=True)
        put(TARGETS)
        put(HOSTS)
        remove(HOSTS)
        remove(TARGETS)
        tell(used=False)
        put(GENERATIONS)
        remove(GENERATIONS)

    def _compare(self, wanted: Wanted, before: Mapping[str, str], deadline: float) -> Differences:
        look = self._look(wanted, before, deadline)
        if look.found:
            # Without the lock, a change that was on its way looks like a difference.
            with self._folder.locked(deadline):
                look = self._look(wanted, before, deadline)
        return look

    def _look(self, wanted: Wanted, before: Mapping[str, str], deadline: float) -> Differences:
        files = self._look_at_files(wanted, before)
        found = (*files.found, *self._look_at_haproxy(files.desired, deadline))
        return Differences(found, files.desired.overtaken)

    def _mend(self, wanted: Wanted, before: Mapping[str, str], deadline: float) -> Differences:
        try:
            look = self._look(wanted, before, deadline)
        except GatewayDownError:
            pass  # the files are mended all the same
        else:
            if not look.found:
                return look
        with self._folder.locked(deadline):
            files = self._look_at_files(wanted, before)
            desired = files.desired
            if files.found:
                texts = {table: maps.render(desired.tables[table]) for table in TABLES}
                self._folder.write(texts, desired.pools, desired.tables[TARGETS])
            live = self._look_at_haproxy(desired, deadline)
            edits = {table: {one.key: one.wanted for one in live if one.table == table} for table in TABLES}
            concerned = {one.key.partition("/")[0] for one in live if one.table == "pools"}
            seats = desired.pools.seats(desired.tables[TARGETS])
            if live:
                self._tell(edits, {pool: seats[pool] for pool in concerned}, deadline)
        return Differences((*files.found, *live), desired.overtaken)

    def _look_at_files(self, wanted: Wanted, before: Mapping[str, str]) -> "_Files":
        present = {table: maps.parse(self._folder.read(table)) for table in TABLES}
        pools = self._folder.read_pools()
        pools.claim(present[TARGETS])
        desired = plan.desired(wanted, present, pools, before=before, now=clock.now())
        found = list(plan.differences("files", desired.tables, present))
        if not found and not self._folder.has_pools(pools, desired.tables[TARGETS]):
            found.append(Difference("files", "pools", "pools.cfg", "as it follows from targets.map", "something else"))
        return _Files(desired, tuple(found))

    def _look_at_haproxy(self, desired: Desired, deadline: float) -> tuple[Difference, ...]:
        with self._runtime.opened(deadline) as session:
            live = {table: session.table(self._folder.map_path(table)) for table in TABLES}
            servers = session.servers()
        seats = desired.pools.seats(desired.tables[TARGETS])
        return (
            *plan.differences("haproxy", desired.tables, live),
            *plan.server_differences(seats, servers),
        )

    def _generation(self, project: str, deadline: float) -> int | None:
        with self._runtime.opened(deadline) as session:
            found = session.value(self._folder.map_path(GENERATIONS), project)
        return int(found) if found is not None and found.isdecimal() else None

    def _generations(self, deadline: float) -> Mapping[str, int]:
        with self._runtime.opened(deadline) as session:
            found = session.table(self._folder.map_path(GENERATIONS))
        return {project: int(number) for project, number in found.items() if number.isdecimal()}

    def _version(self, deadline: float) -> str:
        with self._runtime.opened(deadline) as session:
            return session.info()["Version"]


class _Files(NamedTuple):
    desired: Desired
    found: tuple[Difference, ...]


def _has_room(servers: Mapping[str, Mapping[str, Server]], seats: Seats) -> bool:
    return all(len(servers.get(pool, ())) >= len(wanted) for pool, wanted in seats.items())
