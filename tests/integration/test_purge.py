"""The purge: every step may fail, before or after it acted, and the end is the same."""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from lifecycle import clock, ids
from lifecycle.receipts import signing
from lifecycle.scheduler import purge
from lifecycle.scheduler.model import CancelDeletion, CreateProject, Phase, Project
from tests.support.waiting import eventually
from tests.support.workbench import Workbench

GRACE = timedelta(seconds=1)
STEPS = ("_survey", "_remove", "_bury")


class _CrashError(Exception):
    """A planted failure."""


def _failing(step: Callable[..., Awaitable[Any]], *, when: str, seen: Counter[str]) -> Callable[..., Awaitable[Any]]:
    async def failing(**arguments: Any) -> Any:
        name = f"{step.__name__} {getattr(arguments.get('subsystem'), 'name', '')}"
        seen[name] += 1
        first = seen[name] == 1
        if first and when == "before":
            raise _CrashError(name)
        result = await step(**arguments)
        if first and when == "after":
            raise _CrashError(name)
        if first and when == "twice":
            return await step(**arguments)
        return result

    return failing


@pytest.mark.parametrize("when", ["before", "after", "twice"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_fails_is_repeated_and_the_end_is_the_same(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """Whatever step of a purge fails or runs twice: the project is gone, completely, with one true receipt."""
    seen: Counter[str] = Counter()
    monkeypatch.setattr(purge, step, _failing(getattr(purge, step), when=when, seen=seen))
    project = await _project_with_domains(bench, 3)
    await bench.schedule(project, GRACE)
    await bench.until(project, Phase.DELETED)

    assert seen, "the step did not run"
    assert when == "twice" or max(seen.values()) > 1, "the step was not repeated"
    await _verify_clean_slate(bench, project, domains=3)


async def test_a_failing_purge_blocks_nothing_and_completes_when_the_cause_goes_away(bench: Workbench) -> None:
    """A purge that fails again and again: reads and cancels are answered, an alarm is raised, then it finishes."""
    broken = await _project_with_domains(bench, 2)
    other = await bench.project()
    await bench.schedule(other, timedelta(hours=1))
    await bench.resources.db.execute("RENAME TABLE domains TO domains_away")
    try:
        await bench.schedule(broken, GRACE)
        await bench.until(broken, Phase.PURGING)
        await eventually(lambda: _retries(bench, broken, at_least=10), within=60)
        cancelled = await bench.client.cancel_deletion(other.id, CancelDeletion(actor=bench.admin, now=clock.now()))
        with pytest.raises(Exception, match="cannot be undone"):
            await bench.client.cancel_deletion(broken.id, CancelDeletion(actor=bench.admin, now=clock.now()))
        findings = await eventually(lambda: _findings(bench, broken), within=20)

        assert cancelled.outcome == "cancelled"
        assert (await bench.deletion(broken)).phase is Phase.PURGING
        assert findings == {"purge_over_budget", "invocation_stuck"}
    finally:
        await bench.resources.db.execute("RENAME TABLE domains_away TO domains")
    await bench.until(broken, Phase.DELETED, within=30)
    await _verify_clean_slate(bench, broken, domains=2)
    await eventually(lambda: _audited(bench, broken, {"alarm.raised", "alarm.cleared"}), within=20)


async def test_every_table_of_a_project_has_its_place_in_the_purge(bench: Workbench) -> None:
    """A table that refers to projects and is forgotten by the purge would leave rows behind."""
    rows = await bench.resources.db.all(
        "SELECT DISTINCT TABLE_NAME AS name FROM information_schema.KEY_COLUMN_USAGE "
        "WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IN ('projects', 'deployments')"
    )
    covered = {table for subsystem in purge.SUBSYSTEMS for table in subsystem.tables}

    assert {row["name"] for row in rows} == covered


async def test_a_purge_of_an_older_generation_removes_nothing(bench: Workbench) -> None:
    """The database itself refuses a purge that a newer decision has overtaken."""
    project = await _project_with_domains(bench, 1)
    deletion = await bench.schedule(project, timedelta(hours=1))
    order = purge.order(project, deletion.model_copy(update={"started_at": clock.now()}))
    await eventually(lambda: _audited(bench, project, {"deletion.scheduled"}), within=10)
    await bench.resources.db.execute("UPDATE projects SET generation = 99 WHERE id = %s", project.id)
    for subsystem in purge.SUBSYSTEMS:
        with pytest.raises(Exception, match="at generation 99"):
            await subsystem.remove(order)

    assert await _rows(bench, project) == 1 + 2 + 1


async def test_a_deleted_project_leaves_its_slug_free(bench: Workbench) -> None:
    """The name of a deleted project can be used again at once."""
    project = await bench.project()
    await bench.schedule(project, GRACE)
    await bench.until(project, Phase.DELETED)
    command = CreateProject(actor=bench.admin, now=clock.now(), slug=project.slug, name="Again")
    again = await bench.client.create_project(ids.new("prj"), command)

    assert again.slug == project.slug


async def _project_with_domains(bench: Workbench, count: int) -> Project:
    project = await bench.project()
    for number in range(count):
        await bench.resources.db.execute(
            "INSERT INTO domains (id, project_id, hostname, kind, created_at) VALUES (%s, %s, %s, 'custom', %s)",
            ids.new("dom"),
            project.id,
            f"d{number}.{project.slug}.example.com",
            clock.now(),
        )
    return project


async def _rows(bench: Workbench, project: Project) -> int:
    row = await bench.resources.db.one(
        "SELECT (SELECT COUNT(*) FROM projects WHERE id = %s) + (SELECT COUNT(*) FROM environments "
        "WHERE project_id = %s) + (SELECT COUNT(*) FROM domains WHERE project_id = %s) AS n",
        project.id,
        project.id,
        project.id,
    )
    assert row is not None
    return int(row["n"])


async def _verify_clean_slate(bench: Workbench, project: Project, *, domains: int) -> None:
    tombstones = await bench.resources.db.all("SELECT * FROM tombstones WHERE project_id = %s", project.id)
    stated = signing.verify(tombstones[0]["receipt"], await signing.jwks(bench.resources.db))
    removed = {line["subsystem"]: line["count"] for line in stated["removed"]}

    assert await _rows(bench, project) == 0
    assert len(tombstones) == 1
    assert removed == {
        "instances": 0,
        "certificates": 0,
        "routes": 0,
        "deployments": 0,
        "domains": domains,
        "environments": 2,
        "project": 1,
    }
    assert set(removed) == {subsystem.name for subsystem in purge.SUBSYSTEMS} | {"project"}

    async def recorded() -> bool:
        story = [one for one in await bench.audit(project) if not one.startswith("alarm.")]
        return story == ["project.created", "deletion.scheduled", "deletion.started", "deletion.finished"]

    await eventually(recorded, within=10)


async def _retries(bench: Workbench, project: Project, *, at_least: int) -> bool:
    rows = await bench.resources.engine.query(
        "SELECT retry_count, last_failure FROM sys_invocation WHERE target_service_name = 'ProjectDeletion' "
        f"AND target_service_key LIKE '{project.id}.%' AND status <> 'completed'"
    )
    return bool(rows) and int(rows[0]["retry_count"]) >= at_least


async def _findings(bench: Workbench, project: Project) -> set[str]:
    state = await bench.client.findings()
    found = {one.kind for one in state.findings if project.id in f"{one.subject} {one.detail}"}
    return found if len(found) > 1 else set()


async def _audited(bench: Workbench, project: Project, wanted: set[str]) -> bool:
    return wanted <= set(await bench.audit(project))
