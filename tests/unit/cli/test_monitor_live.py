"""What a running instance knows of a version's monitor goes before what its bundle says."""

from dataclasses import replace
from pathlib import Path

import pytest

from serving.cli.monitor_live import Live, with_rate
from serving.monitor.drift.view import VersionDrift, WatchState
from serving.monitor.lint.subject import Exported, MonitoredVersion
from serving.registry.policies.drift_policy import DriftPolicy
from serving.settings import load_settings
from tests.fakes.lint_cases import VERSION

SETTINGS = load_settings(home=Path("/home/somebody"))
LIVE = Live(
    exported=Exported(names=frozenset(), series_count=0),
    rows_per_s={"m:1": 100.0},
    drift={
        "m:1": VersionDrift(
            model="m",
            version=1,
            state=WatchState.WATCHING,
            reference_rows=700,
            rows_between_false_alarms=3e8,
        )
    },
    policies={"m:1": DriftPolicy(seconds_between=86_400.0)},
    registered=(),
    others=(),
)


def test_the_threshold_that_holds_is_judged() -> None:
    """The instance has moved it since the reference was calibrated; all else is the bundle's."""
    found = with_rate(VERSION, LIVE, None, SETTINGS).reference

    assert VERSION.reference is not None
    assert found == replace(VERSION.reference, rows_between_false_alarms=3e8)


def test_a_version_without_a_bundle_is_judged_by_its_configurations_budget() -> None:
    """Its reference is known to the instance alone, and its threshold follows the rate."""
    found = with_rate(MonitoredVersion(model="m", version=1), LIVE, None, SETTINGS).reference

    assert found is not None
    assert (found.rows, found.seconds_between_false_alarms) == (700, 86_400.0)


@pytest.mark.parametrize(
    ("state", "problem"), [(WatchState.FAILED, "it is gone"), (WatchState.LEARNING, "")]
)
def test_a_reference_that_the_instance_cannot_use_is_a_problem(
    state: WatchState, problem: str
) -> None:
    """One that is still learnt is none."""
    drift = VersionDrift(model="m", version=1, state=state, reason="it is gone")
    live = replace(LIVE, drift={"m:1": drift})

    found = with_rate(MonitoredVersion(model="m", version=1), live, None, SETTINGS)

    assert (found.reference, found.reference_problem) == (None, problem)
