"""The alert rules and the dashboard, read and tried by Prometheus' own tool."""

import json
import re
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from lifecycle.certs.model import Ending
from lifecycle.endpoint import SERVICES
from lifecycle.errors import Code
from lifecycle.notifications.model import Channel
from lifecycle.observability import measures
from lifecycle.scheduler import reconciler

ROOT = Path(__file__).parents[2]
PROMTOOL = ROOT / ".tools" / "prometheus" / "promtool"
OPS = ROOT / "ops"
_MATCHER = re.compile(r'\b([a-z]+)\s*(=|!=|=~|!~)\s*"([^"]*)"')
# What each label that is asked for may be, from the code that says it.
_VALUES: Mapping[str, Collection[str]] = {
    "part": ("database", "engine", "worker"),
    "outcome": {*measures.CANCEL_OUTCOMES, *(code.value for code in Code)},
    "reason": {measures.OUTAGE, measures.DEFECT, *measures.STEP_REASONS},
    "ending": [ending.value for ending in Ending],
    "service": [service.name for service in SERVICES],
    "channel": [channel.value for channel in Channel],
    "renewal": ("planned", "none"),
    "kind": (reconciler.RUNNING_OUT,),
    "job": ("lifecycle",),  # the one of docs/observability.md
}


def promtool(*arguments: str | Path, folder: Path) -> str:
    """Run it; gives what it says when it is content."""
    assert PROMTOOL.exists(), "run scripts/setup --tests, which installs promtool"
    done = subprocess.run([PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dashboard() -> list[str]:
    """What the panels ask for."""
    panels = json.loads((OPS / "grafana" / "lifecycle.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize(("verb", "file"), [("check", "alerts.yml"), ("test", "alerts.test.yml")])
def test_prometheus_takes_the_alerts_and_they_fire_when_they_should(verb: str, file: str) -> None:
    """Who loads the rules gets alerts that are quiet while all is well, and that page when a promise is broken."""
    assert "SUCCESS" in promtool(verb, "rules", file, folder=OPS / "prometheus")


def test_every_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    """None is there that nobody has ever seen fire, or that fires while all is well."""
    alerts = re.findall(r"- alert: (\w+)", (OPS / "prometheus" / "alerts.yml").read_text())
    tests = (OPS / "prometheus" / "alerts.test.yml").read_text()

    assert set(re.findall(r"alertname: (\w+)\n +exp_alerts", tests)) == set(alerts)
    assert set(re.findall(r"alertname: (\w+)\}", tests)) == set(alerts)


def test_prometheus_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    """Every panel shows something: its question is one that Prometheus understands."""
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(dashboard())
    ]
    (tmp_path / "dashboard.json").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", "dashboard.json", folder=tmp_path)


@pytest.mark.parametrize("asked", ["alerts", "dashboard"])
def test_no_question_is_about_a_label_that_nobody_has(asked: str) -> None:
    """No alert is silent for ever, and no panel empty, because of a word that was changed in the code."""
    text = (OPS / "prometheus" / "alerts.yml").read_text() if asked == "alerts" else "\n".join(dashboard())
    matchers = [one for one in _MATCHER.findall(text) if one[0] != "status"]  # HTTP's
    strange = [one for label, _, value in matchers for one in value.split("|") if one not in _VALUES.get(label, ())]

    assert matchers
    assert strange == []
