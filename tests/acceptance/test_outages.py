"""When a server is away: clear answers in time, nothing half done, and everything catches up."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lifecycle.dev.stack import Stack
from tests.support.api import Answer, Api
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def own() -> AsyncIterator[Stack]:
    """A stack of our own, whose servers may be stopped and killed."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-outage-"))
    running = Stack(root / "s", settings={"LIFECYCLE_RECONCILER_INTERVAL": "1s", "LIFECYCLE_REQUEST_TIMEOUT": "4s"})
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        shutil.rmtree(root)


@pytest.fixture
async def client(own: Stack) -> AsyncIterator[Api]:
    """The API of that stack."""
    async with Api(own.api_url, (own.root / "api-key").read_text().strip()) as found:
        yield found


async def test_without_the_database_a_cancel_works_and_the_list_catches_up(own: Stack, client: Api, slug: str) -> None:
    """With MySQL stopped, a cancel still succeeds, by id and by slug; the list is right once MySQL is back."""
    projects = [await client.project(f"{slug}-{number}") for number in range(2)]
    for number, project in enumerate(projects):
        await client.schedule(project, f"{slug}-{number}", "72h")
        await client.get(f"/v1/projects/{slug}-{number}/deletion")
    await eventually(lambda: _states(client, projects, "pending"), within=10)
    await own.database.child.kill()
    by_id = await client.delete(f"/v1/projects/{projects[0]}/deletion")
    by_slug = await client.delete(f"/v1/projects/{slug}-1/deletion")
    refused = [
        await client.schedule(projects[0], f"{slug}-0", "72h"),
        await client.get("/v1/actions"),
        await client.post("/v1/projects", {"slug": f"{slug}-9"}),
    ]
    await own.database.start()
    await eventually(lambda: _states(client, projects, "cancelled"), within=20)

    assert (by_id.status, by_slug.status) == (200, 200)
    for answer in refused:
        _is_unavailable(answer, "database_unavailable")
    assert (await client.deletion(projects[0]))["phase"] == "none"
    assert (await client.get(f"/v1/projects/{slug}-9")).status == 404


async def test_a_database_that_hangs_delays_no_cancel(own: Stack, client: Api, slug: str) -> None:
    """A database that accepts and never answers is worse than none; a cancel gets through all the same."""
    project = await client.project(slug)
    await client.schedule(project, slug, "72h")
    own.database.child.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        refused = await client.get("/v1/actions")
        cancelled = await client.delete(f"/v1/projects/{project}/deletion")
        took = time.monotonic() - began
    finally:
        own.database.child.signal(signal.SIGCONT)

    _is_unavailable(refused, "database_unavailable")
    assert cancelled.status == 200
    assert took < 10


async def test_a_deletion_that_is_due_without_the_database_waits_and_can_be_cancelled(
    own: Stack, client: Api, slug: str
) -> None:
    """While nobody can say whether the requester may still delete, nothing is deleted, and a cancel wins."""
    projects = [await client.project(f"{slug}-{number}") for number in range(2)]
    await own.database.child.kill()
    await own.database.start()
    for number, project in enumerate(projects):
        await eventually(partial(_accepted, client, project, f"{slug}-{number}"), within=10)
    await own.database.child.kill()
    await asyncio.sleep(2.5)  # past the due time; nothing can be seen from outside that says so
    phases = [(await client.deletion(project))["phase"] for project in projects]
    cancelled = await client.delete(f"/v1/projects/{projects[0]}/deletion")
    await own.database.start()
    deleted = await eventually(lambda: _phase(client, projects[1], "deleted"), within=30)

    assert phases == ["scheduled", "scheduled"]
    assert cancelled.status == 200
    assert deleted
    assert (await client.deletion(projects[0]))["phase"] == "none"


@pytest.mark.parametrize("way", ["killed", "stopped"])
async def test_without_the_engine_requests_are_refused_in_time(own: Stack, client: Api, slug: str, way: str) -> None:
    """Without the engine nothing is decided: 503 with Retry-After, within ten seconds, and nothing scheduled."""
    project = await client.project(slug)
    if way == "killed":
        await own.engine.child.kill()
    else:
        own.engine.child.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        refused = await client.schedule(project, slug, "72h")
        took = time.monotonic() - began
    finally:
        if way == "killed":
            await own.engine.start()
        own.engine.child.signal(signal.SIGCONT)
    deletion = await eventually(lambda: _deletion(client, project), within=20)

    _is_unavailable(refused, "engine_unavailable")
    assert took < 10
    assert deletion["phase"] in ({"none"} if way == "killed" else {"none", "scheduled"})


async def test_a_schedule_that_got_no_answer_is_not_carried_out_hours_later(own: Stack, client: Api, slug: str) -> None:
    """With the worker dead the engine keeps requests; a deletion that was refused must not begin with its return."""
    project = await client.project(slug)
    await own.worker.child.kill()
    refused = await client.schedule(project, slug, "72h")
    await own.worker.start()
    deletion = await eventually(lambda: _deletion(client, project), within=20)

    _is_unavailable(refused, "engine_unavailable")
    assert (deletion["phase"], deletion["generation"]) == ("none", 0)


async def test_a_cancel_that_got_no_answer_is_carried_out(own: Stack, client: Api, slug: str) -> None:
    """With the worker dead a cancel waits in the engine, and is carried out first thing."""
    project = await client.project(slug)
    await client.schedule(project, slug, "72h")
    await own.worker.child.kill()
    unknown = await client.delete(f"/v1/projects/{project}/deletion")
    await own.worker.start()
    await eventually(lambda: _phase(client, project, "none"), within=20)

    _is_unavailable(unknown, "engine_unavailable")


def _is_unavailable(answer: Answer, code: str) -> None:
    assert (answer.status, answer.body["code"]) == (503, code), answer
    assert int(answer.headers["Retry-After"]) > 0


async def _states(client: Api, projects: list[str], state: str) -> bool:
    answers = [await client.get(f"/v1/actions/project-deletion/{project}") for project in projects]
    return all(answer.status == 200 and answer.body["state"] == state for answer in answers)


async def _accepted(client: Api, project: str, slug: str) -> bool:
    return (await client.schedule(project, slug, "2s")).status in (200, 202)


async def _phase(client: Api, project: str, phase: str) -> bool:
    deletion = await _deletion(client, project)
    return deletion is not None and deletion["phase"] == phase


async def _deletion(client: Api, project: str) -> dict[str, Any] | None:
    answer = await client.get(f"/v1/projects/{project}/deletion")
    return answer.body if answer.status == 200 else None
