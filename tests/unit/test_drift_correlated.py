"""Traffic whose rows depend on one another."""

import numpy as np
import pytest

from serving.monitor.drift.autocorrelation import autocorrelation_time
from serving.monitor.drift.calibration import Assumption, FalseAlarms
from serving.monitor.drift.columns import Column, FloatArray, LevelColumn, NumberColumn
from serving.monitor.drift.learning import learn_profile
from serving.monitor.drift.windows import WINDOWS
from tests.fakes.drift_rows import alarms_of, learnt

FEW = FalseAlarms(replicates=24, horizon_rows=5_000)


def autoregression(seed: int, rows: int, carry: float) -> FloatArray:
    """Rows that depend on those before them."""
    noise = np.random.default_rng(seed).standard_normal(rows)
    for row in range(1, rows):
        noise[row] = carry * noise[row - 1] + np.sqrt(1 - carry**2) * noise[row]
    return noise


def traffic(seed: int, rows: int, shift: float = 0.0) -> list[Column]:
    """Three numbers and a level that all stay near where they are."""
    numbers: list[Column] = [
        NumberColumn(name=f"n{i}", values=autoregression(10 * seed + i, rows, 0.9) + shift)
        for i in range(3)
    ]
    sticky = autoregression(10 * seed + 9, rows, 0.9) > 0.0
    return [*numbers, LevelColumn(name="level", values=[b"%d" % one for one in sticky])]


@pytest.mark.parametrize("carry", [0.0, 0.5, 0.9])
def test_autocorrelation_is_measured(carry: float) -> None:
    """The estimate is near (1 + carry) / (1 - carry)."""
    found = autocorrelation_time(autoregression(1, 20_000, carry)[:, None])

    assert found == pytest.approx((1 + carry) / (1 - carry), rel=0.15)


@pytest.mark.parametrize(
    "series",
    [np.zeros((0, 1)), np.ones((500, 1)), np.arange(500.0)[:, None]],
    ids=["empty", "constant", "trend"],
)
def test_odd_series_have_a_time(series: FloatArray) -> None:
    """Whatever the series, the time is one row at least, and within what they can show."""
    assert 1.0 <= autocorrelation_time(series) <= 500 / 8


def test_correlated_traffic_raises_no_alarm_and_a_change_in_it_does() -> None:
    """Rows that depend on one another pass where the reference has such rows; a shift is found."""
    profile = learn_profile(traffic(1, 3_000), is_ordered=True, allowed=FEW)

    assert profile.assumption is Assumption.AUTOCORRELATED
    assert alarms_of(profile, traffic(2, 5_000)) == []
    assert alarms_of(profile, traffic(2, 5_000, shift=2.0))[0].at_row <= 4_096


def test_windows_of_few_independent_rows_are_not_looked_at() -> None:
    """A window counts only if it is worth 32 independent rows."""
    profile = learn_profile(traffic(1, 3_000), is_ordered=True, allowed=FEW)
    is_used = np.isfinite(profile.calibration.units[:, 0]).tolist()

    assert is_used == [rows >= 32 * profile.autocorrelation_time for rows in WINDOWS]


def test_independent_rows_keep_all_windows() -> None:
    """An ordered reference of independent rows costs no delay."""
    profile = learnt()

    assert profile.assumption is Assumption.INDEPENDENT
    assert np.isfinite(profile.calibration.units[:, 0]).all()
