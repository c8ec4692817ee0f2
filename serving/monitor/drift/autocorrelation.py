"""How many rows are worth one independent row: the autocorrelation time of ordered rows. Pure.

Bursts, one client that sends similar rows, and times of day make rows alike; the mean of a window
then varies as if it had fewer rows. The factor is estimated as the spectrum at frequency zero of an
autoregressive process fitted to the rows (Yule and Walker; its order by Schwarz's criterion).
"""

from typing import Final

import numpy as np

from serving.monitor.drift.columns import FloatArray

MAX_ORDER: Final = 16
MIN_ROWS: Final = 64
MIN_NOTICED: Final = 1.25
NOTICED_ERRORS: Final = 4.5


def autocorrelation_time(series: FloatArray) -> float:
    """Estimate the factor; 1 for independent rows.

    Args:
        series: What the rows say, in the order of time. Shape (rows, variables): the variables
            share one autocorrelation (flags of one category, for example).
    """
    rows = len(series)
    if rows < MIN_ROWS:
        return 1.0
    covariances = _covariances(series)
    if covariances[0] <= 1e-12:  # noqa: PLR2004  constant up to rounding
        return 1.0
    best, best_score = 1.0, rows * np.log(covariances[0])
    for order, (error, weights) in enumerate(_yule_walker(covariances), start=1):
        score = rows * np.log(max(error, 1e-300)) + order * np.log(rows)
        if score < best_score:
            gain = max(1.0 - weights.sum(), 1.0 / rows)
            best, best_score = error / covariances[0] / gain**2, score
    return float(np.clip(best, 1.0, rows / 8))


def is_noticeable(time: float, rows: int) -> bool:
    """Say whether rows depend on one another, by the largest of many columns' estimates.

    Hardly any estimate of independent rows is above: of those it is within some standard errors.
    """
    return time > max(MIN_NOTICED, 1.0 + 2.0 * NOTICED_ERRORS / float(np.sqrt(rows)))


def _covariances(series: FloatArray) -> FloatArray:
    """Return autocovariances at lags 0 ... MAX_ORDER, added up over variables."""
    rows = len(series)
    centred = series - series.mean(axis=0)
    lags = range(MAX_ORDER + 1)
    return np.array([float((centred[lag:] * centred[: rows - lag]).sum()) / rows for lag in lags])


def _yule_walker(covariances: FloatArray) -> list[tuple[float, FloatArray]]:
    """Fit autoregressive processes of orders 1 and up: error variance and weights of each."""
    fits: list[tuple[float, FloatArray]] = []
    weights = np.zeros(0)
    error = float(covariances[0])
    for order in range(1, len(covariances)):
        known = covariances[order - 1 : 0 : -1] if order > 1 else covariances[:0]
        reflection = float(covariances[order] - weights @ known) / error
        weights = np.concatenate((weights - reflection * weights[::-1], [reflection]))
        error *= 1.0 - reflection**2
        if error <= 0.0:
            break
        fits.append((error, weights))
    return fits
