"""The reconciler: what was lost behind our back is found, mended and told."""

from datetime import timedelta

import aiohttp

from lifecycle.scheduler.model import Phase, Project
from tests.support.waiting import eventually
from tests.support.workbench import Workbench


async def test_a_timer_removed_through_the_admin_api_is_armed_again_with_the_same_due_time(bench: Workbench) -> None:
    """An operator who removes a delayed call does not remove the deletion, and does not hasten it."""
    project = await bench.project()
    scheduled = await bench.schedule(project, timedelta(seconds=8))
    timer = await eventually(lambda: _timer(bench, project), within=5)
    async with (
        aiohttp.ClientSession() as session,
        session.patch(f"{bench.stack.engine.admin_url}/invocations/{timer}/cancel") as answer,
    ):
        assert answer.status == 200
    again = await eventually(lambda: _timer(bench, project), within=6)
    healed = await bench.deletion(project)

    assert again != timer
    assert healed.countdown == scheduled.countdown
    assert "alarm.raised" in await eventually(lambda: _alarm(bench, project), within=5)
    deleted = await bench.until(project, Phase.DELETED)
    assert deleted.started_at is not None
    assert scheduled.countdown.due_at is not None
    assert deleted.started_at >= scheduled.countdown.due_at


async def test_a_purge_that_somebody_killed_is_begun_again(bench: Workbench) -> None:
    """An operator who kills a purge in the engine does not leave a project half deleted."""
    project = await bench.project()
    await bench.resources.db.execute("RENAME TABLE domains TO domains_away")
    try:
        await bench.schedule(project, timedelta(seconds=1))
        purge = await eventually(lambda: _purge(bench, project), within=10)
        async with (
            aiohttp.ClientSession() as session,
            session.patch(f"{bench.stack.engine.admin_url}/invocations/{purge}/kill") as answer,
        ):
            assert answer.status == 200
    finally:
        await bench.resources.db.execute("RENAME TABLE domains_away TO domains")
    deleted = await bench.until(project, Phase.DELETED, within=30)

    assert deleted.purge_attempt == 2
    story = [action for action in await bench.audit(project) if not action.startswith("alarm.")]
    assert story[:4] == ["project.created", "deletion.scheduled", "deletion.started", "deletion.resumed"]


async def test_a_healthy_timer_is_left_alone(bench: Workbench) -> None:
    """What is as it should be causes no alarm and no second timer."""
    project = await bench.project()
    await bench.schedule(project, timedelta(hours=3))
    before = await bench.client.findings()

    async def swept_twice() -> bool:
        state = await bench.client.findings()
        return state.swept_at is not None and before.swept_at is not None and state.swept_at > before.swept_at

    for _ in range(2):
        await eventually(swept_twice, within=10)
        before = await bench.client.findings()

    assert not [finding for finding in before.findings if finding.subject == project.id]
    assert len(await _timers(bench, project)) == 1


async def test_starting_the_loop_again_does_not_make_two(bench: Workbench) -> None:
    """Every worker starts the loop; there is one all the same."""
    generation = (await bench.client.findings()).generation
    for _ in range(3):
        await bench.client.start_reconciler()

    assert (await bench.client.findings()).generation == generation


async def _timers(bench: Workbench, project: Project) -> list[str]:
    rows = await bench.resources.engine.query(
        "SELECT id FROM sys_invocation WHERE target_service_name = 'ProjectService' AND status = 'scheduled' "
        f"AND target_service_key = '{project.id}'"
    )
    return [row["id"] for row in rows]


async def _purge(bench: Workbench, project: Project) -> str | None:
    rows = await bench.resources.engine.query(
        "SELECT id FROM sys_invocation WHERE target_service_name = 'ProjectDeletion' AND status <> 'completed' "
        f"AND target_service_key LIKE '{project.id}.%'"
    )
    return rows[0]["id"] if rows else None


async def _timer(bench: Workbench, project: Project) -> str | None:
    timers = await _timers(bench, project)
    return timers[0] if timers else None


async def _alarm(bench: Workbench, project: Project) -> list[str]:
    return [action for action in await bench.audit(project) if action.startswith("alarm.")]
