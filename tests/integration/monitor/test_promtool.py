"""The rules as Prometheus' own tool reads and tries them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from serving.monitor.alerting.slo import read_slo
from serving.monitor.monitoring_files import prometheus_files

DEPLOYED = Path(__file__).parents[3] / "deploy" / "prometheus"
pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)


def promtool(*words: str, folder: Path = DEPLOYED) -> str:
    """Run it; return what it printed."""
    ran = subprocess.run(
        ["promtool", *words], cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("name", ["rules_test.yaml", "rules_days_test.yaml"])
def test_the_rules_ring_when_they_have_to_and_only_then(name: str) -> None:
    """Outages, slow burns, bursts, silence, resets, no traffic: the unit tests beside the rules."""
    assert "SUCCESS" in promtool("test", "rules", name)


def test_the_example_configuration_is_one() -> None:
    """With the rules that it names."""
    assert "SUCCESS" in promtool("check", "config", "prometheus.yaml")


def test_rules_for_promises_of_single_models_are_valid(tmp_path: Path) -> None:
    """No rule twice, no mistake in an expression."""
    slo = read_slo(
        "models: {fraud: {availability: 0.99, latency: {threshold_s: 0.05, target: 0.9}}, "
        "a.b: {latency: {threshold_s: 1}}}"
    )
    for name, text in prometheus_files(slo).items():
        (tmp_path / name).write_text(text)
    assert "SUCCESS" in promtool("check", "rules", "rules.yaml", folder=tmp_path)
