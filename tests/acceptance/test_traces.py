"""Traces and logs of a whole Lifecycle, as those who run it collect them."""

import json
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lifecycle.clock import now, rfc3339
from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.collector import Collector, Span
from tests.support.shop import Shop
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


async def test_one_trace_leads_to_all_that_follows_at_once(site: Site, slug: str) -> None:
    """Whoever follows a deployment sees its rollout, the switch of its domains and the record; so for a certificate."""
    shop = await Shop.opened(site.stack, site.api, slug)
    deployed, issued = secrets.token_hex(16), secrets.token_hex(16)
    begun = await shop.ask("v1", headers={"traceparent": f"00-{deployed}-{CALLER}-01"})
    await shop.until(begun.body["id"], "ready")
    asked = await site.api.post(
        f"/v1/certificates/{slug}.example.com/issue",
        {"challenge": "http-01"},
        headers={"traceparent": f"00-{issued}-{CALLER}-01"},
    )
    assert asked.status == 202, asked

    def names(trace: str) -> set[str]:
        return {one.name for one in site.collector.spans if one.trace == trace}

    rollout = {"DeploymentService/deploy", "Rollout/run", "RoutingService/switch_domains", "Ledger/record"}
    issuance = {"CertificateService/process_challenge", "Issuance/run", "CertificateService/settle", "Ledger/record"}
    assert await eventually(lambda: rollout <= names(deployed), within=30), names(deployed)
    assert await eventually(lambda: issuance <= names(issued), within=60), names(issued)


async def test_every_line_of_api_and_worker_is_json(site: Site, slug: str) -> None:
    """What collects logs can rely on it, also for lines of the libraries that we use."""
    await purged(site, slug)
    for name in ("api", "worker"):
        text = (site.stack.root / "logs" / f"{name}.log").read_text()
        lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]

        assert lines
        assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)


async def test_a_step_that_fails_is_one_line_for_each_attempt(site: Site, slug: str) -> None:
    """Whoever reads the log of a worker during an outage reads what fails and how often, once, and no tracebacks."""
    due_at = rfc3339(now() + timedelta(seconds=2))
    projects = [await site.api.project(f"{slug}-{number}") for number in range(2)]
    for number, project in enumerate(projects):
        body = {"due_at": due_at, "reason": "test", "confirm": f"{slug}-{number}"}
        assert (await site.api.post(f"/v1/projects/{project}/deletion", body)).status == 202

    async def are(*wanted: str) -> bool:
        return sorted([(await site.api.deletion(project))["phase"] for project in projects]) == list(wanted)

    # Of two that are due at one moment, the purge of the second begins seconds later.
    await eventually(lambda: are("deleted", "purging"), within=20)
    await site.stack.database.child.kill()
    log = site.stack.root / "logs" / "worker.log"

    def told() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return [line for line in lines if line.get("service") == "ProjectDeletion" and line["level"] != "info"]

    await eventually(lambda: len(told()) >= 2, within=30)
    await site.stack.database.start()
    await eventually(lambda: are("deleted", "deleted"), within=30)

    failed = told()
    assert [line["attempt"] for line in failed] == list(range(1, len(failed) + 1))
    assert all(line["message"].startswith("a step failed, and is repeated: DatabaseDownError") for line in failed)
    assert not [line for line in failed if "exception" in line]
