"""One nemesis each: what is promised holds whatever happens to the servers, and work goes on soon after."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from lifecycle import clock
from lifecycle.dev.stack import Stack
from tests.chaos import nemesis, race
from tests.support.api import Answer
from tests.support.freezing import frozen
from tests.support.history import Event, Kind, Truth, moment
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos

Show = Callable[[str, Mapping[str, object]], None]

# Design, section 11: killed at the due moment, it fires within so many seconds of health.
SOON = 5.0


@pytest.mark.parametrize("part", ["worker", "engine"])
async def test_a_server_that_freezes_over_the_due_times_breaks_no_promise(
    own_stack: Stack, show: Show, part: str
) -> None:
    """A process that hangs and wakes up again loses nothing and does nothing twice."""
    child = nemesis.part(own_stack, part).child
    async with race.scene(own_stack, 30) as made:
        kept = made.projects[:15]
        due_at = _last_due(await made.schedule(3))
        async with asyncio.TaskGroup() as cancels:
            async with frozen(child):
                cancels.create_task(made.cancel(kept))
                await _until(due_at + timedelta(seconds=2))
            healthy_at = clock.now()
        outcome = await made.outcome()

    show(f"{part} frozen over the due times", _figures(outcome, healthy_at))
    assert outcome.violations() == []
    assert _longest_after(healthy_at, outcome.truths) < SOON


@pytest.mark.parametrize("part", ["worker", "engine"])
async def test_what_became_due_while_a_server_was_dead_begins_soon_after(
    own_stack: Stack, show: Show, part: str
) -> None:
    """Nothing is forgotten over a crash, and people need not wait long once the server is back."""
    async with race.scene(own_stack, 30) as made:
        due_at = _last_due(await made.schedule(2.5))
        async with nemesis.down(nemesis.part(own_stack, part)):
            await _until(due_at + timedelta(seconds=6))
        healthy_at = clock.now()
        outcome = await made.outcome()

    show(f"{part} dead over the due times", _figures(outcome, healthy_at))
    assert outcome.violations() == []
    assert outcome.phases() == {"deleted": 30}
    assert _longest_after(healthy_at, outcome.truths) < SOON


@pytest.mark.parametrize("engine_environment", [{}, nemesis.EXPERIMENTAL], ids=["default", "experimental"])
async def test_timers_that_an_operator_removed_are_armed_again_for_the_same_time(
    show: Show, engine_environment: Mapping[str, str]
) -> None:
    """Cancelling every delayed call at the engine's admin port, the reconciler's own too, delays nothing for long."""
    async with (
        nemesis.private_stack(engine_environment=engine_environment) as stack,
        race.scene(stack, 50) as made,
    ):
        scheduled = await made.schedule(9)
        await eventually(lambda: _timers_of(stack, 50), within=5)
        removed = await nemesis.to_all(stack, "cancel", "status = 'scheduled'")
        shown = await race.each(made.clients[0].show, made.projects)
        outcome = await made.outcome()

    late = race.started_late(outcome.truths)
    show("every timer cancelled by an operator", {"removed": removed, "begun after due, longest": late[-1]})
    assert removed >= 50
    assert [_told(event) for event in shown] == [_told(event) for event in scheduled]
    assert outcome.violations() == []
    assert outcome.phases() == {"deleted": 50}
    assert late[-1] < SOON


@pytest.mark.parametrize("engine_environment", [{}, nemesis.EXPERIMENTAL], ids=["default", "experimental"])
async def test_what_was_given_up_can_be_asked_for_again_at_once(
    show: Show, engine_environment: Mapping[str, str]
) -> None:
    """A schedule that was answered 503 while the worker was dead is not carried out, and its key works again."""
    settings = {"LIFECYCLE_REQUEST_TIMEOUT": "1s"}
    async with (
        nemesis.private_stack(engine_environment=engine_environment, settings=settings) as stack,
        race.scene(stack, 10) as made,
    ):
        key = {"Idempotency-Key": "once"}
        async with nemesis.down(stack.worker):
            given_up = await race.each(lambda project: _schedule(made, project, key), made.projects)
        left = await race.each(made.clients[0].show, made.projects)
        again = await race.each(lambda project: _schedule(made, project, key), made.projects)
        outcome = await made.outcome()

    show("given up, then asked for again", outcome.phases())
    assert {answer.status for answer in given_up} == {503}
    assert {event.answer["phase"] for event in left} == {"none"}
    assert {(answer.status, answer.body["generation"]) for answer in again} == {(202, 1)}
    assert outcome.phases() == {"deleted": 10}


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_cancels_succeed_while_the_database_is_gone(own_stack: Stack, show: Show, how: str) -> None:
    """Without the database nothing is purged, every cancel works also after the due time, and the list catches up."""
    database = own_stack.database
    async with race.scene(own_stack, 40) as made:
        before, after, left = made.projects[:15], made.projects[15:30], made.projects[30:]
        due_at = _last_due(await made.schedule(4))
        async with nemesis.down(database) if how == "killed" else frozen(database.child):
            cancels = [*await made.cancel(before)]
            await _until(due_at + timedelta(seconds=1))
            cancels += await made.cancel(after)
            waiting = await race.each(made.clients[0].show, left)
            await _until(due_at + timedelta(seconds=6))
        healthy_at = clock.now()
        outcome = await made.outcome()

    show(f"database {how} over the due times", _figures(outcome, healthy_at))
    assert {event.kind for event in cancels} == {Kind.OK}
    assert {event.answer["phase"] for event in waiting} == {"scheduled"}
    assert outcome.violations() == []
    assert outcome.phases() == {"none": 30, "deleted": 10}
    assert _longest_after(healthy_at, outcome.truths) < SOON + 1


async def test_deletions_scheduled_by_one_release_fire_on_the_next(show: Show) -> None:
    """A release is swapped under pending deletions: the old worker dies, and the new one carries them out."""
    async with nemesis.private_stack() as stack, race.scene(stack, 30) as made:
        kept = made.projects[:10]
        due_at = _first_due(await made.schedule(12))
        async with nemesis.other_worker(stack, nemesis.NO_OTHER_MEANING):
            await stack.worker.child.kill()
            assert clock.now() < due_at
            await _until(due_at - timedelta(milliseconds=500))
            await made.cancel(kept)
            outcome = await made.outcome()

    late = race.started_late(outcome.truths)
    show("worker swapped under pending deletions", {**outcome.phases(), "begun after due, longest": late[-1]})
    assert outcome.violations() == []
    assert outcome.phases() == {"none": 10, "deleted": 20}
    assert late[-1] < SOON


async def test_what_a_dead_release_had_begun_is_alarmed_and_an_operator_can_move_it(show: Show) -> None:
    """A release that dies for good in the middle of purges leaves an alarm, and its work goes on on the newest."""
    async with nemesis.private_stack() as stack, race.scene(stack, 40) as made:
        await made.schedule(5)
        async with nemesis.without_table(stack, "domains"):
            await eventually(lambda: _purges_at_work(stack, 20), within=30)
            await stack.worker.child.kill()
        async with nemesis.other_worker(stack, nemesis.NO_OTHER_MEANING):
            await eventually(lambda: _alarmed(made), within=30)
            await eventually(lambda: _nothing_left_to_move(stack), within=30)
            outcome = await made.outcome()

    show("a release dead in the middle of purges", outcome.phases())
    assert outcome.violations() == []
    assert outcome.phases() == {"deleted": 40}


async def test_purges_that_an_operator_ended_are_begun_again(own_stack: Stack, show: Show) -> None:
    """Ending every handler of a purge by hand does not leave a project half deleted."""
    async with race.scene(own_stack, 20) as made:
        await made.schedule(3)
        await eventually(lambda: _any(made, "purging"), within=10)
        async with frozen(own_stack.database.child):
            running = "target_service_name = 'ProjectDeletion' AND status <> 'completed'"
            ended = await nemesis.to_all(own_stack, "kill", running)
        outcome = await made.outcome()

    resumed = sum(entry["action"] == "deletion.resumed" for truth in outcome.truths for entry in truth.audit)
    show("purges killed by an operator", {**outcome.phases(), "killed": ended, "begun again": resumed})
    assert 0 < resumed <= ended
    assert outcome.violations() == []
    assert outcome.phases() == {"deleted": 20}


@pytest.mark.parametrize("seconds", [-3, 3])
async def test_a_worker_whose_clock_is_wrong_begins_nothing_early(show: Show, seconds: int) -> None:
    """A purge begins by the later of the two clocks, the engine's or the worker's."""
    wrong = f"return datetime.now(UTC) + timedelta(seconds={seconds})"
    # The SDK adds delays to a clock that cannot be changed from here, and on a real machine is wrong in the same way.
    changes = (("clock.py", "return datetime.now(UTC)", wrong), ("clock.py", "((now() -", "((datetime.now(UTC) -"))
    async with (
        nemesis.private_stack() as stack,
        race.scene(stack, 10) as made,
        nemesis.other_worker(stack, *changes),
    ):
        await stack.worker.child.kill()
        scheduled = await made.schedule(3)
        due_at = {event.project: moment(event.answer["due_at"]) for event in scheduled}

        async def begun(project: str) -> datetime:
            async def seen() -> datetime | None:
                event = await made.clients[0].show(project)
                return event.at if event.answer["phase"] != "scheduled" else None

            return await eventually(seen, within=30)

        seen = dict(zip(made.projects, await race.each(begun, made.projects), strict=True))

    waited = {project: (seen[project] - due_at[project]).total_seconds() for project in made.projects}
    soonest, latest = min(waited.values()), max(waited.values())
    show(f"worker's clock wrong by {seconds} s", {"begun after due, seconds": f"{soonest:.3f} to {latest:.3f}"})
    assert soonest >= max(0, -seconds)
    assert latest < max(0, -seconds) + SOON


async def _schedule(made: race.Scene, project: str, headers: Mapping[str, str]) -> Answer:
    body = {"grace": "2s", "reason": "test", "confirm": made.slugs[project]}
    return await made.api.post(f"/v1/projects/{project}/deletion", body, headers=headers)


async def _timers_of(stack: Stack, projects: int) -> bool:
    timers = await nemesis.count(stack, "target_service_name = 'ProjectService' AND status = 'scheduled'")
    return timers >= projects


async def _purges_at_work(stack: Stack, at_least: int) -> bool:
    begun = "target_service_name = 'ProjectDeletion' AND status <> 'completed' AND pinned_deployment_id IS NOT NULL"
    return await nemesis.count(stack, begun) >= at_least


async def _any(made: race.Scene, phase: str) -> bool:
    shown = await race.each(made.api.deletion, made.projects)
    return any(deletion["phase"] == phase for deletion in shown)


async def _nothing_left_to_move(stack: Stack) -> bool:
    """Move to the newest release whatever stands still; the engine wants a pause before it changes the release."""
    waiting = await nemesis.to_all(stack, "pause", "status = 'backing-off'")
    paused = await nemesis.to_all(stack, "resume?deployment=latest", "status = 'paused'")
    return waiting + paused == 0


async def _alarmed(made: race.Scene) -> bool:
    return not all((await made.api.get("/readyz")).body.values())


def _last_due(events: Sequence[Event]) -> datetime:
    assert {event.kind for event in events} == {Kind.OK}, events
    return max(moment(event.answer["due_at"]) for event in events)


def _first_due(events: Sequence[Event]) -> datetime:
    assert {event.kind for event in events} == {Kind.OK}, events
    return min(moment(event.answer["due_at"]) for event in events)


def _told(event: Event) -> tuple[object, ...]:
    return event.project, event.answer["due_at"], event.answer["generation"], event.answer["phase"]


def _longest_after(healthy_at: datetime, truths: Sequence[Truth]) -> float:
    started = [moment(truth.shown["started_at"]) for truth in truths if truth.shown["started_at"]]
    return max(((at - healthy_at).total_seconds() for at in started), default=0)


def _figures(outcome: race.Outcome, healthy_at: datetime) -> Mapping[str, object]:
    return {**outcome.phases(), "begun after health, longest": round(_longest_after(healthy_at, outcome.truths), 3)}


async def _until(at: datetime) -> None:
    await asyncio.sleep(max((at - clock.now()).total_seconds(), 0))
