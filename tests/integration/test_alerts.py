"""The alert rules, read and tried by Prometheus' own tool."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMTOOL = ROOT / ".tools" / "prometheus" / "promtool"

pytestmark = pytest.mark.skipif(not PROMTOOL.exists(), reason="scripts/setup --tests could not get promtool")


@pytest.mark.parametrize(("verb", "file"), [("check", "alerts.yml"), ("test", "alerts.test.yml")])
def test_prometheus_takes_the_alerts_and_they_fire_when_they_should(verb: str, file: str) -> None:
    """Who loads the rules gets alerts that are quiet while all is well, and that page when a promise is broken."""
    done = subprocess.run(
        [PROMTOOL, verb, "rules", file], cwd=ROOT / "ops" / "prometheus", capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
