"""The reconciler: what was lost behind our back is found, mended and told."""

import secrets
from datetime import datetime, timedelta
from types import SimpleNamespace

import aiohttp
import pytest

from lifecycle import clock, ids
from lifecycle.scheduler import reconciler
from lifecycle.scheduler.alarms import Finding
from lifecycle.scheduler.model import Phase, Project
from tests.support.waiting import eventually
from tests.support.workbench import Workbench

HOUR = timedelta(hours=1)


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


async def test_a_timer_that_comes_too_late_does_not_count(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake-up that the engine holds for a later time than the deletion's is as good as none: armed again in time."""
    project = await bench.project()
    with monkeypatch.context() as patch:
        patch.setattr(clock, "until", lambda moment: moment - clock.now() + HOUR)
        scheduled = await bench.schedule(project, timedelta(seconds=8))
    await eventually(lambda: _timers(bench, project, at_least=2), within=6)
    unchanged = await bench.deletion(project)
    deleted = await bench.until(project, Phase.DELETED)

    assert unchanged.countdown == scheduled.countdown
    assert deleted.started_at is not None
    assert scheduled.countdown.due_at is not None
    assert deleted.started_at >= scheduled.countdown.due_at
    await eventually(lambda: _told(bench, project, "timer_missing", ["alarm.raised", "alarm.cleared"]), within=10)


@pytest.mark.parametrize("ahead", ["the worker", "the engine"])
async def test_nothing_is_woken_before_both_clocks_say_so(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, ahead: str
) -> None:
    """One clock that runs ahead makes nothing late: neither an alarm nor a wake-up comes of it."""
    project = await bench.project()
    await bench.schedule(project, timedelta(minutes=10))
    right = clock.now

    def wrong() -> datetime:
        return right() + HOUR

    async def engines() -> datetime:
        return wrong()

    with monkeypatch.context() as patch:
        if ahead == "the worker":
            patch.setattr(reconciler, "clock", SimpleNamespace(now=wrong))
        else:
            patch.setattr(bench.resources.engine, "clock", engines)
        for _ in range(2):
            await _swept(bench)
        findings = await _findings(bench, project.id)
    deletion = await bench.deletion(project)

    assert findings == {}
    assert (deletion.phase, deletion.countdown.early_wakeups) == (Phase.SCHEDULED, 0)
    assert len(await _timers(bench, project)) == 1


async def test_what_was_found_stays_while_the_engine_cannot_be_read(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to see is not to be well: an alarm is neither cleared nor raised anew because nobody could look."""
    project = await bench.project()
    await bench.resources.db.execute("RENAME TABLE domains TO domains_away")
    try:
        await bench.schedule(project, timedelta(seconds=1))
        found = await eventually(lambda: _findings(bench, project.id), within=15)
        with monkeypatch.context() as patch:
            patch.setattr(bench.resources.engine, "_url", "http://127.0.0.1:1")
            unreadable = await eventually(lambda: _findings(bench, "engine"), within=15)
            await _swept(bench)
            kept = await _findings(bench, project.id)
    finally:
        await bench.resources.db.execute("RENAME TABLE domains_away TO domains")
    await bench.until(project, Phase.DELETED, within=30)
    await eventually(lambda: _cleared(bench, project.id, "engine"), within=15)

    assert set(unreadable) == {"engine_unreadable"}
    assert kept == found
    assert set(found) == {"purge_over_budget"}
    await eventually(lambda: _told(bench, project, "purge_over_budget", ["alarm.raised", "alarm.cleared"]), within=10)


async def test_a_certificate_runs_out_also_while_the_database_is_down(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of the database ends no alarm: people are told of it once when it comes and once when it goes."""
    db, domain, now = bench.resources.db, f"{secrets.token_hex(6)}.example.com", clock.now()
    await db.execute(
        "INSERT INTO certificate_domains (domain, workspace_id, names, challenge, status, last_error, updated_at) "
        "VALUES (%s, %s, '[]', '', 'active', '', %s)",
        *(domain, bench.admin.workspace, now),
    )
    await db.execute(
        "INSERT INTO certificates (id, domain, version, workspace_id, issuance_id, serial, issuer, not_before, "
        "not_after, cause, chain, key_digest, sealed_key, ca, names, status, created_at) VALUES "
        "(%s, %s, 1, %s, %s, '', '', %s, %s, '', '', '', '', '', '[]', 'served', %s)",
        *(ids.new("crt"), domain, bench.admin.workspace, ids.new("iss"), now - 2400 * HOUR, now + HOUR, now),
    )
    try:
        found = await eventually(lambda: _findings(bench, domain), within=10)
        with monkeypatch.context() as patch:
            patch.setattr(db, "_deadline", timedelta(0))
            for _ in range(3):
                await _swept(bench)
            kept = await _findings(bench, domain)
    finally:
        await db.execute("DELETE FROM certificates WHERE domain = %s", domain)
        await db.execute("DELETE FROM certificate_domains WHERE domain = %s", domain)
    await eventually(lambda: _cleared(bench, domain), within=10)

    async def told() -> list[str]:
        rows = await db.all(
            "SELECT action FROM audit_log WHERE JSON_VALUE(detail, '$.subject') = %s ORDER BY at, position", domain
        )
        assert len(rows) > 1
        return [row["action"] for row in rows]

    assert await eventually(told, within=10) == ["alarm.raised", "alarm.cleared"]
    assert kept == found
    assert set(found) == {"certificate_running_out"}


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
    for _ in range(2):
        await _swept(bench)

    assert await _findings(bench, project.id) == {}
    assert len(await _timers(bench, project)) == 1


async def test_starting_the_loop_again_does_not_make_two(bench: Workbench) -> None:
    """Every worker starts the loop; there is one all the same."""
    generation = (await bench.client.findings()).generation
    for _ in range(3):
        await bench.client.start_reconciler()

    assert (await bench.client.findings()).generation == generation


async def _swept(bench: Workbench) -> None:
    """Return when the reconciler has looked once more."""
    before = (await bench.client.findings()).swept_at

    async def again() -> bool:
        return (await bench.client.findings()).swept_at != before

    await eventually(again, within=10)


async def _findings(bench: Workbench, subject: str) -> dict[str, Finding]:
    """What the reconciler finds now about a project or the engine, by kind."""
    return {one.kind: one for one in (await bench.client.findings()).findings if one.subject == subject}


async def _cleared(bench: Workbench, *subjects: str) -> bool:
    return not [await _findings(bench, subject) for subject in subjects if await _findings(bench, subject)]


async def _timers(bench: Workbench, project: Project, *, at_least: int = 0) -> list[str]:
    rows = await bench.resources.engine.query(
        "SELECT id FROM sys_invocation WHERE target_service_name = 'ProjectService' AND status = 'scheduled' "
        f"AND target_service_key = '{project.id}'"
    )
    return [row["id"] for row in rows] if len(rows) >= at_least else []


async def _purge(bench: Workbench, project: Project) -> str | None:
    rows = await bench.resources.engine.query(
        "SELECT id FROM sys_invocation WHERE target_service_name = 'ProjectDeletion' AND status <> 'completed' "
        f"AND target_service_key LIKE '{project.id}.%'"
    )
    return rows[0]["id"] if rows else None


async def _timer(bench: Workbench, project: Project) -> str | None:
    timers = await _timers(bench, project)
    return timers[0] if timers else None


async def _told(bench: Workbench, project: Project, kind: str, story: list[str]) -> bool:
    """Whether the audit log of a project tells this about one kind of finding, oldest first."""
    rows = await bench.resources.db.all(
        "SELECT action FROM audit_log WHERE project_id = %s AND JSON_VALUE(detail, '$.kind') = %s "
        "ORDER BY at, position",
        project.id,
        kind,
    )
    return [row["action"] for row in rows] == story


async def _alarm(bench: Workbench, project: Project) -> list[str]:
    return [action for action in await bench.audit(project) if action.startswith("alarm.")]
