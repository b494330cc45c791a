"""When a server is away: clear answers in time, nothing half done, and everything catches up."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from lifecycle.db import Connection, Database
from lifecycle.dev import ports
from lifecycle.dev.servers import Engine, Own
from lifecycle.dev.stack import Stack
from tests.support.api import Answer, Api
from tests.support.freezing import frozen
from tests.support.waiting import eventually


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
    async with frozen(own.database.child):
        began = time.monotonic()
        refused = await client.get("/v1/actions")
        cancelled = await client.delete(f"/v1/projects/{project}/deletion")
        took = time.monotonic() - began

    _is_unavailable(refused, "database_unavailable")
    assert cancelled.status == 200
    assert took < 10


async def test_a_database_that_hangs_delays_no_cancel_by_slug(own: Stack, client: Api, slug: str) -> None:
    """A key and a slug that were in use before are still understood, however long ago, while the database hangs."""
    project = await client.project(slug)
    await client.schedule(project, slug, "72h")
    async with _other_api(own, {"LIFECYCLE_KEY_CACHE_TTL": "0s"}) as url, Api(url, client.key) as known:
        await known.get(f"/v1/projects/{slug}/deletion")
        async with frozen(own.database.child):
            cancelled = await known.delete(f"/v1/projects/{slug}/deletion")
            action = await known.delete(f"/v1/actions/project-deletion/{slug}")
            unknown = await known.delete(f"/v1/projects/{slug}-2/deletion")

    assert (cancelled.status, cancelled.body.get("outcome")) == (200, "cancelled")
    assert action.body == cancelled.body
    _is_unavailable(unknown, "database_unavailable")
    assert (await client.deletion(project))["phase"] == "none"


async def test_bulk_cancel_without_the_database_has_an_outcome_for_each(own: Stack, client: Api, slug: str) -> None:
    """What can be cancelled is cancelled; the rest is said to be refused, or not to be known, each by itself."""
    slugs = [f"{slug}-{number}" for number in range(3)]
    projects = [await client.project(one) for one in slugs]
    for one in slugs:
        await client.schedule(one, one, "72h")
    await own.database.child.kill()
    asked = [projects[0], slugs[1], f"{slug}-never-seen"]
    without = await client.post("/v1/actions:cancel", {"ids": [f"project-deletion/{one}" for one in asked]})
    await own.worker.child.kill()
    asked = [projects[2], f"{slug}-never-seen"]
    alone = await client.post("/v1/actions:cancel", {"ids": [f"project-deletion/{one}" for one in asked]})
    filtered = await client.post("/v1/actions:cancel", {"filter": {"kind": "project-deletion"}})
    await own.database.start()
    await own.worker.start()
    await eventually(lambda: _phase(client, projects[2], "none"), within=20)

    assert (without.status, alone.status) == (200, 200)
    assert _outcomes(without) == [("cancelled", None), ("cancelled", None), ("refused", "database_unavailable")]
    assert _outcomes(alone) == [("unknown", "engine_unavailable"), ("refused", "database_unavailable")]
    _is_unavailable(filtered, "database_unavailable")


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
    async with _dead(own.engine) if way == "killed" else frozen(own.engine.child):
        began = time.monotonic()
        refused = await client.schedule(project, slug, "72h")
        took = time.monotonic() - began
    deletion = await eventually(lambda: _deletion(client, project), within=20)

    _is_unavailable(refused, "engine_unavailable")
    assert took < 10
    assert deletion["phase"] in ({"none"} if way == "killed" else {"none", "scheduled"})


async def test_a_schedule_that_got_no_answer_is_not_carried_out_hours_later(own: Stack, client: Api, slug: str) -> None:
    """With the worker dead the engine keeps requests; a deletion that was refused must not begin with its return."""
    project = await client.project(slug)
    path, key = f"/v1/projects/{project}/deletion", {"Idempotency-Key": slug}
    body = {"grace": "72h", "reason": "test", "confirm": slug}
    await own.worker.child.kill()
    refused = await client.post(path, body, headers=key)
    await own.worker.start()
    deletion = await eventually(lambda: _deletion(client, project), within=20)
    again = await client.post(path, body, headers=key)

    _is_unavailable(refused, "engine_unavailable")
    assert (deletion["phase"], deletion["generation"]) == ("none", 0)
    assert (again.status, again.body["generation"]) == (202, 1), "the Idempotency-Key is as good as new"


async def test_a_release_that_got_no_answer_is_not_carried_out_hours_later(own: Stack, client: Api, slug: str) -> None:
    """A hold whose release was said to have failed still holds when the worker is back."""
    project = await client.project(slug)
    hold = f"/v1/projects/{project}/holds/legal"
    await client.schedule(project, slug, "72h")
    await client.put(hold, {"reason": "case 17"})
    await own.worker.child.kill()
    refused = await client.delete(hold)
    await own.worker.start()
    deletion = await eventually(lambda: _deletion(client, project), within=20)
    again = await client.delete(hold)

    _is_unavailable(refused, "engine_unavailable")
    assert deletion["blocked_by"] == ["legal"]
    assert (again.status, again.body["blocked_by"]) == (200, [])


async def test_a_request_that_is_given_up_half_way_is_not_carried_out_later(own: Stack, client: Api, slug: str) -> None:
    """A slow database used up the time of the request, and the worker is dead: what was sent by then is taken back."""
    project = await client.project(slug)
    await own.worker.child.kill()
    async with _locked(own, "projects"):
        asked = asyncio.create_task(client.schedule(project, slug, "72h"))
        # So late that the time of the whole request ends before that of its last call.
        await asyncio.sleep(2.5)
    refused = await asked
    await own.worker.start()
    renamed = await client.patch(f"/v1/projects/{project}", {"name": "Behind whatever waited for the project"})
    deletion = await client.deletion(project)

    _is_unavailable(refused, "engine_unavailable")
    assert renamed.status == 200
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


def _outcomes(answer: Answer) -> list[tuple[str, str | None]]:
    return [(one["outcome"], one.get("code")) for one in answer.body["items"]]


@asynccontextmanager
async def _dead(server: Engine) -> AsyncIterator[None]:
    """Killed for the time of the block, started again after it."""
    await server.child.kill()
    try:
        yield
    finally:
        await server.start()


@asynccontextmanager
async def _other_api(own: Stack, settings: Mapping[str, str]) -> AsyncIterator[str]:
    """The URL of a second API on the same servers, with other settings."""
    port = ports.assign(("other",), remembered=own.root / "other-ports.json", given={})["other"]
    url = f"http://127.0.0.1:{port}"
    environment = {**own.environment, "LIFECYCLE_API_PORT": str(port), **settings}
    api = Own("api", url=url, health="/healthz", environment=environment, log=own.root / "logs" / "other-api.log")
    try:
        await api.start()
        yield url
    finally:
        await api.child.stop()


@asynccontextmanager
async def _locked(own: Stack, table: str) -> AsyncIterator[None]:
    """Nobody else reads or writes a table in the time of the block."""
    db = Database(own.database.url, size=1, deadline=timedelta(seconds=20))
    locked, done = asyncio.Event(), asyncio.Event()

    async def work(connection: Connection) -> None:
        await connection.execute(f"LOCK TABLES {table} WRITE")
        locked.set()
        await done.wait()
        await connection.execute("UNLOCK TABLES")

    async with asyncio.TaskGroup() as group:
        group.create_task(db.transaction(work))
        await locked.wait()
        try:
            yield
        finally:
            done.set()
    await db.close()


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
