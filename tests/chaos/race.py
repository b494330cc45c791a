"""Cancels that race with the due moment while the servers are killed, and the truth when all is quiet again."""

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random  # noqa: TID251  seeded, so that a plan can be repeated
from typing import Any, NamedTuple, TypeVar

from lifecycle import clock
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from lifecycle.errors import LifecycleError
from lifecycle.receipts import signing
from tests.chaos import nemesis
from tests.support import invariants
from tests.support.api import Api
from tests.support.clients import Client
from tests.support.history import Event, Kind, Truth, calls, moment, violations
from tests.support.invariants import What
from tests.support.waiting import eventually

T = TypeVar("T")

_AT_ONCE = 16
_QUIET = """
    SELECT target, status FROM sys_invocation WHERE status <> 'completed' AND target_service_name <> 'Reconciler'
    LIMIT 10
"""


_WHAT = {f"deletion.{name}": What(name) for name in ("scheduled", "cancelled", "started", "finished")}
_WHAT["deletion.rescheduled"] = What.MOVED


class Course(StrEnum):
    """How a race goes on from the first due moment."""

    CANCEL = "cancel"  # one cancel
    TWICE = "twice"  # two people cancel, each at a moment of their own
    AGAIN = "again"  # cancelled, scheduled again at once, and cancelled at that due moment
    MOVE = "move"  # moved near the due moment, and cancelled at the new one


_COURSES = (Course.CANCEL, Course.CANCEL, Course.TWICE, Course.AGAIN, Course.MOVE)


class Plan(NamedTuple):
    """What happens, as far as it can be said before.

    Attributes:
        seed: the same one gives the same plan.
        races: how many projects.
        window_seconds: their due moments are spread over it.
        kills: what is killed, one after the other, evenly spread: `worker`, `engine` or `both`.
        close_seconds: a cancel comes at most this far from the due moment.
    """

    seed: int
    races: int
    window_seconds: float
    kills: Sequence[str]
    close_seconds: float = 0.15


class Outcome(NamedTuple):
    """What came of it when all was quiet."""

    events: Sequence[Event]
    truths: Sequence[Truth]

    def violations(self) -> Sequence[str]:
        """What the checkers found: those of answers and truth, and those of what each project decided."""
        return [*violations(self.events, self.truths), *invariants.violations(_decided(self.truths))]

    def phases(self) -> Counter[str]:
        """How many projects ended in which phase."""
        return Counter(truth.shown["phase"] for truth in self.truths)


class Scene(NamedTuple):
    """Some new projects, two people at the API, and the history that they write.

    Attributes:
        stack: the servers.
        api: for questions that are no part of the history.
        clients: the two people.
        events: the history.
        slugs: the slug of each project, by id.
        rows: what each project had in the database before anything was scheduled.
    """

    stack: Stack
    api: Api
    clients: tuple[Client, Client]
    events: list[Event]
    slugs: Mapping[str, str]
    rows: Mapping[str, Mapping[str, int]]

    @property
    def projects(self) -> Sequence[str]:
        """The ids."""
        return list(self.slugs)

    async def schedule(self, grace_seconds: float, projects: Sequence[str] | None = None) -> Sequence[Event]:
        """Schedule the deletion of these projects, all by default, some at a time."""
        client = self.clients[0]
        chosen = self.projects if projects is None else projects
        return await each(lambda project: client.schedule(project, self.slugs[project], grace_seconds), chosen)

    async def cancel(self, projects: Sequence[str]) -> Sequence[Event]:
        """Cancel the deletion of these projects, some at a time."""
        return await each(self.clients[1].cancel, projects)

    async def outcome(self, *, within: float = 90) -> Outcome:
        """Wait until nothing is left to do, and collect the truth."""
        await _quiet(self.stack, self.api, self.projects, within=within)
        return Outcome(self.events, await _gather(self.stack, self.api, self.projects, self.rows))


@asynccontextmanager
async def scene(stack: Stack, projects: int) -> AsyncIterator[Scene]:
    """A scene with so many new projects."""
    key = (stack.root / "api-key").read_text().strip()
    async with Api(stack.api_url, key) as first, Api(stack.api_url, key) as second:
        slugs = [f"c-{secrets.token_hex(6)}" for _ in range(projects)]
        ids = await each(lambda slug: eventually(lambda: _created(first, slug), within=30), slugs)
        events: list[Event] = []
        clients = Client(first, events), Client(second, events)
        yield Scene(stack, first, clients, events, dict(zip(ids, slugs, strict=True)), await _rows(stack))


class _Race(NamedTuple):
    begin: float
    grace: float
    course: Course
    offsets: tuple[float, float]
    look: float


async def run(stack: Stack, plan: Plan) -> tuple[Outcome, Mapping[str, object]]:
    """Carry out a plan, wait until all is quiet, and collect; with figures for people."""
    began = clock.now()
    async with scene(stack, plan.races) as made:
        driver = _Driver(made)
        random = Random(plan.seed)  # noqa: S311  no secret
        races = [_race(random, plan) for _ in made.projects]
        async with asyncio.TaskGroup() as group:
            for race, project in zip(races, made.projects, strict=True):
                group.create_task(driver.race(race, project))
            group.create_task(_kill(stack, plan, random))
        await driver.resolve()
        outcome = await made.outcome()
    return outcome, _figures(plan, outcome, clock.now() - began)


class _Driver:
    """Runs single races; two clients write one history."""

    def __init__(self, made: Scene) -> None:
        self._scene = made
        self._clients = made.clients
        self._unclear: set[str] = set()

    async def race(self, race: _Race, project: str) -> None:
        """One project, from its schedule to the last cancel."""
        client, other = self._clients
        await asyncio.sleep(race.begin)
        due_at = await self._scheduled(project, race.grace)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look(project, due_at, race.look))
            if race.course is Course.TWICE:
                group.create_task(self._cancel(other, project, due_at, race.offsets[1]))
            if race.course is Course.MOVE:
                due_at = await self._moved(project, due_at, race)
            answer = await self._cancel(client, project, due_at, race.offsets[0])
            if race.course is Course.AGAIN and answer.kind is Kind.OK:
                due_at = await self._scheduled(project, race.grace)
                await self._cancel(client, project, due_at, race.offsets[1])

    async def resolve(self) -> None:
        """Where an answer never came, read and cancel again until both are answered."""
        client = self._clients[0]

        async def known(project: str) -> None:
            for ask in (client.show, client.cancel):
                await eventually(lambda ask=ask: _answered(ask(project)), within=30)  # type: ignore[misc]

        await each(known, sorted(self._unclear))

    async def _scheduled(self, project: str, grace: float) -> datetime:
        """Schedule until it is scheduled; the due time, or that of what has begun meanwhile."""

        async def due() -> datetime | None:
            event = await self._clients[0].schedule(project, self._scene.slugs[project], grace)
            if event.kind is Kind.UNKNOWN:
                event = await self._clients[0].show(project)
            due_at = event.answer.get("due_at")
            return moment(due_at) if due_at else clock.now() if event.kind is Kind.FAIL else None

        return await eventually(due, within=60)

    async def _moved(self, project: str, due_at: datetime, race: _Race) -> datetime:
        await _until(due_at + timedelta(seconds=race.offsets[1]))
        event = await self._clients[0].move(project, race.grace)
        if event.kind is Kind.UNKNOWN:
            self._unclear.add(project)
        return moment(event.answer["due_at"]) if event.kind is Kind.OK else clock.now()

    async def _cancel(self, client: Client, project: str, due_at: datetime, offset: float) -> Event:
        await _until(due_at + timedelta(seconds=offset))
        event = await client.cancel(project)
        if event.kind is Kind.UNKNOWN:
            self._unclear.add(project)
        return event

    async def _look(self, project: str, due_at: datetime, offset: float) -> None:
        await _until(due_at + timedelta(seconds=offset))
        await self._clients[1].show(project)


async def _quiet(stack: Stack, api: Api, projects: Sequence[str], *, within: float) -> None:
    """Return when nothing is left to do: every deletion is at an end, and the engine has no more work."""

    async def at_an_end(project: str) -> None:
        async def ended() -> bool:
            return (await api.deletion(project))["phase"] in ("none", "deleted")

        await eventually(ended, within=within)

    await each(at_an_end, projects)
    async with nemesis.admin(stack) as engine:

        async def nothing_left() -> bool:
            left = await engine.query(_QUIET)
            assert not left, left
            return True

        await eventually(nothing_left, within=within)


async def _rows(stack: Stack) -> Mapping[str, Mapping[str, int]]:
    """The rows of each project in every table that belongs to projects."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=30))
    found: dict[str, Counter[str]] = defaultdict(Counter)
    try:
        tables = await db.all(
            "SELECT table_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() "
            "AND column_name = 'project_id' AND table_name NOT IN ('audit_log', 'pending_actions', 'tombstones')"
        )
        columns = [("projects", "id"), *((table["name"], "project_id") for table in tables)]
        for table, column in columns:
            for row in await db.all(f"SELECT {column} AS project, COUNT(*) AS n FROM {table} GROUP BY {column}"):
                found[row["project"]][table] = int(row["n"])
    finally:
        await db.close()
    return found


async def _gather(
    stack: Stack, api: Api, projects: Sequence[str], before: Mapping[str, Mapping[str, int]]
) -> Sequence[Truth]:
    """The truth about each project: API, database, audit log."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=30))
    try:
        tombstones = {row["project_id"]: row for row in await db.all("SELECT * FROM tombstones")}
        listed = {row["subject"]: row["state"] for row in await db.all("SELECT subject, state FROM pending_actions")}
    finally:
        await db.close()
    rows = await _rows(stack)
    keys = (await api.get("/.well-known/jwks.json")).body
    audit = await _audit(api)
    shown = await each(lambda project: eventually(lambda: api.deletion(project), within=30), projects)
    return [
        Truth(
            project=project,
            shown=deletion,
            rows=rows.get(project, {}),
            rows_before=before[project],
            tombstone=tombstones.get(project),
            receipt=_verified(tombstones.get(project), keys),
            action=listed.get(project),
            audit=sorted(audit[project], key=lambda entry: int(entry["id"].rpartition(".")[2])),
        )
        for project, deletion in zip(projects, shown, strict=True)
    ]


def started_late(truths: Sequence[Truth]) -> Sequence[float]:
    """By how many seconds each purge began after its due time, ascending."""
    entries = [entry for truth in truths for entry in truth.audit if entry["action"] == "deletion.started"]
    return sorted((moment(one["at"]) - moment(one["detail"]["due_at"])).total_seconds() for one in entries)


def table(title: str, figures: Mapping[str, object]) -> str:
    """Figures as a table for people."""
    width = max(map(len, figures))
    return "\n".join(["", title, *(f"  {name.ljust(width)}  {value}" for name, value in figures.items())])


def _decided(truths: Sequence[Truth]) -> list[invariants.Event]:
    """What each project decided, by its audit log, as the checkers of the model read it."""
    decided = []
    for truth in truths:
        generation, due_at = 0, None
        for entry in truth.audit:
            what = _WHAT.get(entry["action"])
            if what is None:
                continue
            if what in invariants.ARMS:
                generation, due_at = generation + 1, moment(entry["detail"]["due_at"])
            decided.append(
                invariants.Event(
                    what=what, project=truth.project, at=moment(entry["at"]), generation=generation, due_at=due_at
                )
            )
            if what is What.CANCELLED:
                generation, due_at = generation + 1, None
    return decided


def _race(random: Random, plan: Plan) -> _Race:
    close = plan.close_seconds
    return _Race(
        begin=random.uniform(0, plan.window_seconds),
        grace=random.uniform(1.1, 3),
        course=random.choice(_COURSES),
        offsets=(random.uniform(-close, close), random.uniform(-close, close)),
        look=random.uniform(-0.1, 0.4),
    )


async def _kill(stack: Stack, plan: Plan, random: Random) -> None:
    began = clock.now()
    for number, name in enumerate(plan.kills, start=1):
        at = plan.window_seconds * number / (len(plan.kills) + 1)
        await _until(began + timedelta(seconds=at + random.uniform(-1, 1)))
        parts = ("worker", "engine") if name == "both" else (name,)
        await nemesis.kill(*(nemesis.part(stack, one) for one in parts), down_seconds=random.uniform(0.1, 1.2))


def _figures(plan: Plan, outcome: Outcome, took: timedelta) -> Mapping[str, object]:
    events, truths = outcome.events, outcome.truths
    cancels = [call for call in calls(events) if call.verb == "cancel"]
    kinds = Counter(call.kind for call in cancels)
    late = started_late(truths)
    acknowledged = {(call.project, call.generation) for call in cancels if call.kind is Kind.OK}
    return {
        "projects": plan.races,
        "cancels": len(cancels),
        "  acknowledged": kinds[Kind.OK],
        "  refused, it had begun": kinds[Kind.FAIL],
        "  unknown, resolved later": kinds[Kind.UNKNOWN],
        "generations cancelled": len(acknowledged),
        "projects purged": outcome.phases()["deleted"],
        "projects kept": outcome.phases()["none"],
        "stale wake-ups, without effect": sum(truth.shown["stale_wakeups"] for truth in truths),
        "kills": ", ".join(f"{name} {count}" for name, count in Counter(plan.kills).items()),
        "begun after due, seconds": f"p50 {late[len(late) // 2]:.3f}, longest {late[-1]:.3f}" if late else "-",
        "requests in all": len(calls(events)),
        "duration, seconds": round(took.total_seconds(), 1),
    }


async def _audit(api: Api) -> Mapping[str, list[dict[str, Any]]]:
    """The projects' own entries of the whole audit log, page by page."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    path = "/v1/audit?limit=1000"
    while path:
        answer = await api.get(path)
        assert answer.status == 200, answer
        for entry in answer.body["items"]:
            if entry["project"] and entry["id"].startswith(f"{entry['project']}."):
                found[entry["project"]].append(entry)
        cursor = answer.body["next_cursor"]
        path = f"/v1/audit?limit=1000&cursor={cursor}" if cursor else ""
    return found


def _verified(tombstone: Mapping[str, Any] | None, keys: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if tombstone is None:
        return None
    try:
        return signing.verify(tombstone["receipt"], keys)
    except LifecycleError:
        return None


async def _created(api: Api, slug: str) -> str | None:
    answer = await api.post("/v1/projects", {"slug": slug}, headers={"Idempotency-Key": slug})
    return str(answer.body["id"]) if answer.status == 201 else None


async def _answered(asking: Awaitable[Event]) -> bool:
    return (await asking).kind is not Kind.UNKNOWN


async def _until(at: datetime) -> None:
    await asyncio.sleep(max((at - clock.now()).total_seconds(), 0))


async def each(work: Callable[[str], Awaitable[T]], items: Sequence[str]) -> list[T]:
    """Do the work for every item, some at a time; the answers in the order of the items."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: str) -> T:
        async with gate:
            return await work(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]
