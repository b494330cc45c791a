"""Traces and logs of a whole Lifecycle, as those who run it collect them."""

import json
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.collector import Collector, Span
from tests.support.waiting import eventually

TRACE = secrets.token_hex(16)
CALLER = secrets.token_hex(8)


class Site(NamedTuple):
    """A Lifecycle that is traced."""

    stack: Stack
    collector: Collector
    api: Api


@pytest.fixture(scope="module")
async def site() -> AsyncIterator[Site]:
    """One whose engine replays every handler at each step."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-traced-"))
    async with Collector.opened() as collector:
        running = Stack(
            root / "s",
            engine_environment={"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"},
            settings={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"},
        )
        try:
            await running.start()
            async with Api(running.api_url, (running.root / "api-key").read_text().strip()) as api:
                yield Site(running, collector, api)
        finally:
            await running.stop()
            shutil.rmtree(root)


async def purged(site: Site, slug: str) -> str:
    """A project that was deleted, as somebody asked who traces too."""
    project = await site.api.project(slug)
    answer = await site.api.post(
        f"/v1/projects/{project}/deletion",
        {"grace": "1s", "reason": "test", "confirm": slug},
        headers={"traceparent": f"00-{TRACE}-{CALLER}-01"},
    )
    assert answer.status == 202, answer

    async def deleted() -> bool:
        return bool((await site.api.deletion(project))["phase"] == "deleted")

    await eventually(deleted, within=30)
    return project


async def test_one_trace_leads_from_the_request_through_the_engine_to_the_decision(site: Site, slug: str) -> None:
    """Whoever follows a slow request finds the handler that decided it; and the purge, by the project."""
    project = await purged(site, slug)

    def spans() -> list[Span] | None:
        asked = site.collector.named("POST /v1/projects/{project}/deletion")
        decided = site.collector.named("ProjectService/schedule_deletion", lifecycle_project=project)
        buried = site.collector.named("write-tombstone")
        return [asked[0], decided[0], buried[0]] if asked and decided and buried else None

    asked, decided, buried = await eventually(spans, within=15)
    purges = {one.id: one for one in site.collector.named("ProjectDeletion/run", lifecycle_project=project)}

    assert (asked.process, asked.trace, asked.parent) == ("lifecycle-api", TRACE, CALLER)
    assert asked.attributes["http.response.status_code"] == "202"
    assert (decided.process, decided.trace, decided.parent) == ("lifecycle-worker", TRACE, asked.id)
    assert decided.attributes["lifecycle.action"] == f"project-deletion/{project}"
    assert purges[buried.parent].attributes["lifecycle.generation"] == "1"
    # Replays are no second work.
    assert len([one for one in site.collector.named("write-tombstone") if one.parent in purges]) == 1
    assert not [one for one in site.collector.spans if one.has_failed]
    assert project not in asked.name


async def test_every_line_of_api_and_worker_is_json(site: Site, slug: str) -> None:
    """What collects logs can rely on it, also for lines of the libraries that we use."""
    await purged(site, slug)
    for name in ("api", "worker"):
        text = (site.stack.root / "logs" / f"{name}.log").read_text()
        lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]

        assert lines
        assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
