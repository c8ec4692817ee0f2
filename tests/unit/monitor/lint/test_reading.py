"""What the lint reads off a bundle: how often its monitor of drift may be wrong, and of what."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.monitor.drift.storage import to_bytes
from serving.monitor.lint.reading import read_version
from serving.monitor.lint.subject import MonitoredVersion
from serving.registry.bundles.packing import PackOrder, pack_bundle
from tests.fakes.bundles import CONFIG
from tests.fakes.drift_rows import learnt

NOW_UTC = datetime(2026, 1, 1, tzinfo=UTC)
PROFILE = learnt(1_000)
REFERENCE = to_bytes(PROFILE)


def read(folder: Path, reference: bytes = REFERENCE, **parameters: str) -> MonitoredVersion:
    """Read a bundle whose configuration has these parameters."""
    (folder / "model.echo").write_bytes(b"weights")
    (folder / "reference.drift").write_bytes(reference)
    said = (
        f'parameters {{ key: "{name}" value {{ string_value: "{text}" }} }}\n'
        for name, text in parameters.items()
    )
    order = PackOrder(
        model_file=folder / "model.echo",
        name="m",
        version=1,
        created_utc=NOW_UTC,
        config=CONFIG + "".join(said),
        reference_file=folder / "reference.drift",
    )
    return read_version(pack_bundle(order, folder / "bundle").folder, NOW_UTC)


def test_a_configuration_that_says_nothing_leaves_what_was_calibrated(tmp_path: Path) -> None:
    """The rows between false alarms are the reference's own."""
    found = read(tmp_path).reference

    assert found is not None
    assert found.rows_between_false_alarms == PROFILE.allowed.mean_rows_between
    assert found.seconds_between_false_alarms is None


def test_a_budget_in_time_is_read_off_the_configuration(tmp_path: Path) -> None:
    """As the server obeys it."""
    found = read(tmp_path, drift_false_alarms="1 per 30d").reference

    assert found is not None
    assert found.seconds_between_false_alarms == 30 * 86_400


def test_a_budget_in_rows_is_read_off_the_configuration(tmp_path: Path) -> None:
    """It holds in place of the reference's."""
    found = read(tmp_path, drift_false_alarms="0.5 per 10000000 rows").reference

    assert found is not None
    assert found.rows_between_false_alarms == pytest.approx(14_426_950, rel=1e-6)


def test_a_version_that_is_not_to_be_watched_has_no_reference_to_judge(tmp_path: Path) -> None:
    """Nor one that could be damaged."""
    found = read(tmp_path, b"nothing", drift="off")

    assert (found.reference, found.reference_problem) == (None, "")
