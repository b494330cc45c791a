"""The metrics of a running Lifecycle, and that alerts and dashboard ask for metrics that there are."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.shop import Shop
from tests.support.waiting import eventually

OPS = Path(__file__).parents[2] / "ops"
_EXPIRY = "lifecycle_certificate_expiry_timestamp_seconds"
_METRIC = re.compile(r"\blifecycle_[a-z_]+\b")


class Page(NamedTuple):
    """What a process says at `/metrics`: values by name and labels, and the names of all that it may say."""

    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]
    names: frozenset[str]

    def of(self, name: str, **labels: str) -> float | None:
        """One value."""
        return self.values.get((name, frozenset(labels.items())))

    def some(self, name: str) -> float:
        """The sum over all labels."""
        return sum(value for (known, _), value in self.values.items() if known == name)


@pytest.fixture
async def worker(stack: Stack) -> AsyncIterator[Api]:
    """The worker's own port, which only engine and monitoring reach."""
    async with Api(f"http://127.0.0.1:{stack.ports['worker']}", None) as found:
        yield found


async def read(process: Api) -> Page:
    """Ask for the metrics of a process."""
    answer = await process.get("/metrics")
    assert answer.status == 200, answer
    values, names = {}, set()
    for family in text_string_to_metric_families(answer.body):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        names |= {f"{family.name}{suffix}" for suffix in suffixes}
        for sample in family.samples:
            values[sample.name, frozenset(sample.labels.items())] = sample.value
    return Page(values, frozenset(names))


async def test_lateness_stale_wake_ups_and_purges_are_measured(api: Api, worker: Api, slug: str) -> None:
    """Monitoring sees how late deletions begin, how long they take step by step, and which wake-ups came too late."""
    kind = "project-deletion"
    before = await read(worker)
    project = await api.project(slug)
    await api.schedule(project, slug, "1s")
    await api.delete(f"/v1/projects/{project}/deletion")
    await api.schedule(project, slug, "2s")

    async def grown(name: str, **labels: str) -> bool:
        return ((await read(worker)).of(name, **labels) or 0) > (before.of(name, **labels) or 0)

    async def measured() -> bool:
        labelled = [
            await grown("lifecycle_wakeups_total", kind=kind, verdict="stale"),
            await grown("lifecycle_wakeups_total", kind=kind, verdict="due"),
            await grown("lifecycle_action_lateness_seconds_count", kind=kind),
            await grown("lifecycle_step_seconds_count", service="ProjectDeletion", step="write-tombstone"),
            await grown("lifecycle_transitions_total", action="deletion.cancelled"),
            await grown("lifecycle_transitions_total", action="deletion.finished"),
        ]
        return all(labelled) and await grown("lifecycle_purge_seconds_count")

    assert await eventually(measured, within=30)


async def test_outcomes_of_cancels_are_counted(api: Api, slug: str) -> None:
    """It is seen how often people cancel, and how often they came too late or missed."""
    project = await api.project(slug)
    before = await read(api)
    await api.schedule(project, slug, "72h")
    await api.delete(f"/v1/projects/{project}/deletion")
    await api.delete("/v1/actions/project-deletion/prj_01kahv3q5jc1s6v0n8w2k4m7xz")
    after = await read(api)

    for outcome in ("cancelled", "project_not_found"):
        labels = {"kind": "project-deletion", "outcome": outcome}
        grown = (after.of("lifecycle_cancels_total", **labels) or 0) - (
            before.of("lifecycle_cancels_total", **labels) or 0
        )
        assert grown == 1
    requests = {"method": "DELETE", "route": "/v1/projects/{project}/deletion", "status": "200"}
    assert after.of("lifecycle_http_request_seconds_count", **requests)
    assert project not in str(after)


async def test_a_worker_says_how_far_its_gateway_is(stack: Stack, api: Api, worker: Api, slug: str) -> None:
    """A switch that the gateway has not taken over is seen as lag."""
    shop = await Shop.opened(stack, api, slug)
    await shop.deploy("v1")

    async def level() -> bool:
        page = await read(worker)
        assert page.of("lifecycle_gateway_up") == 1
        return page.of("lifecycle_gateway_generation_lag") == 0 == page.of("lifecycle_gateway_projects_behind")

    assert await eventually(level, within=10)


async def test_certificates_are_named_only_where_nobody_from_outside_can_ask(api: Api, worker: Api, slug: str) -> None:
    """Monitoring sees which certificate expires first; the public page says only when."""
    domain = f"{slug}.example.com"
    asked = await api.post(f"/v1/certificates/{domain}/issue", {"challenge": "http-01"})
    assert asked.status == 202, asked

    async def named() -> set[str]:
        """Those that expire first, of this and of other tests."""
        values = (await read(worker)).values
        return {dict(labels)["domain"] for name, labels in values if name == _EXPIRY}

    async def measured() -> bool:
        return bool((await read(worker)).of("lifecycle_issuance_seconds_count", ending="issued"))

    domains = await eventually(named, within=60)
    assert await eventually(measured, within=30)
    public = await read(api)

    assert public.of("lifecycle_certificates_first_expiry_timestamp_seconds", renewal="planned")
    assert not [one for one in domains if one in str(public)]


async def test_strange_requests_make_no_new_series(api: Api) -> None:
    """Whoever asks for made-up paths with made-up methods does not fill the monitoring."""
    for number in range(3):
        await api.call("BREW", f"/pot/{number}")
    page = await read(api)

    strange = [labels for name, labels in page.values if name == "lifecycle_http_request_seconds_count"]
    assert {dict(labels)["method"] for labels in strange} <= {"GET", "POST", "DELETE", "PATCH", "PUT", "OTHER"}
    assert not [labels for labels in strange if "pot" in dict(labels)["route"]]


@pytest.mark.parametrize("path", ["prometheus/alerts.yml", "grafana/lifecycle.json"])
async def test_alerts_and_dashboard_ask_for_metrics_that_there_are(api: Api, worker: Api, path: str) -> None:
    """No alert is silent because it asks for something that nobody tells."""
    # What has no sample yet has its name all the same.
    exported = (await read(api)).names | (await read(worker)).names
    asked = set(_METRIC.findall((OPS / path).read_text()))

    assert asked
    assert not asked - exported


async def test_alerts_are_tried_with_series_as_they_are_told(api: Api, worker: Api) -> None:
    """An alert that was seen to fire in its test does so in earnest: names and labels are the same."""
    text = (OPS / "prometheus" / "alerts.test.yml").read_text()
    tried = {
        (name, frozenset(re.findall(r"(\w+)=", labels)) - {"job", "instance"})
        for name, labels in re.findall(r"series: '(lifecycle_\w+)\{(.*?)\}'", text)
    }
    told: dict[str, set[frozenset[str]]] = {}
    for page in (await read(api), await read(worker)):
        for name, labels in page.values:
            told.setdefault(name, set()).add(frozenset(dict(labels)))

    assert {name for name, _ in tried} & told.keys() >= {"lifecycle_up", "lifecycle_cancels_total"}
    assert [(name, labels) for name, labels in tried if labels not in told.get(name, {labels})] == []
    assert "5.0" in {dict(labels)["le"] for name, labels in (await read(worker)).values if name.endswith("_bucket")}


async def test_what_is_counted_for_an_alert_begins_at_nothing(api: Api, worker: Api) -> None:
    """The first cancel without an answer, and the first handler that breaks, is a growth that an alert sees."""
    public, private = await read(api), await read(worker)

    for kind in ("project-deletion", "standby-stop", "certificate-renewal"):
        assert public.of("lifecycle_cancels_total", kind=kind, outcome="engine_unavailable") is not None
        assert private.of("lifecycle_wakeups_total", kind=kind, verdict="due") is not None
    defect = {"service": "Ledger", "handler": "record", "reason": "defect"}
    assert private.of("lifecycle_invocation_failures_total", **defect) == 0


async def test_a_request_with_a_quoted_slash_is_counted_under_its_route(api: Api) -> None:
    """A URL that was pasted where a name is wanted is no strange request."""
    refused = await api.get("/v1/certificates/https%3A%2F%2Fa.example.com%2Fx")
    route = {"method": "GET", "route": "/v1/certificates/{domain}", "status": str(refused.status)}

    assert (await read(api)).of("lifecycle_http_request_seconds_count", **route)


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """It is JSON, every panel has its own id and place, and asks the data source that is chosen on import."""
    dashboard = json.loads((OPS / "grafana" / "lifecycle.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]

    assert dashboard["title"] == "Lifecycle"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["expr"] for target in panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
