"""How far a window's means are from the reference's, in standard errors. Pure.

Shares of flags are compared on the arcsine scale, where their variance does not depend on the
share. The standard error has both parts: the window's and the reference's own.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from serving.monitor.drift.columns import FloatArray, IntArray

MIN_SD: Final = 0.05
"""What varies less in the reference is taken for constant, and compared as if its sd were 1."""

ROUNDING: Final = 1e-9
"""Limits are so much narrower: what is near one is computed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """What components are in the reference."""

    rows: int
    means: FloatArray
    """Shape (components,)."""
    sds: FloatArray
    """Of single rows. Shape (components,)."""
    flags: IntArray
    """Places of the components that are 0 or 1."""


def baseline_of(components: FloatArray, is_flag: npt.NDArray[np.bool_]) -> Baseline:
    """Summarise the components of the reference's rows. Shape (rows, components), unscaled."""
    sds = components.std(axis=0)
    return Baseline(
        rows=len(components),
        means=components.mean(axis=0),
        sds=np.where(sds < MIN_SD, 1.0, sds),
        flags=np.flatnonzero(is_flag),
    )


def deviations(means: FloatArray, rows: IntArray, baseline: Baseline) -> FloatArray:
    """Compare windows with the reference.

    Args:
        means: Of components. Shape (..., components).
        rows: Of each window. Shape (...).
        baseline: The reference.

    Returns:
        Signed standard errors. Shape (..., components).
    """
    root = np.sqrt(1.0 / (1.0 / np.maximum(rows, 1) + 1.0 / baseline.rows))[..., None]
    result = (means - baseline.means) * (root / baseline.sds)
    flags = baseline.flags
    if flags.size:
        angles = np.arcsin(np.sqrt(np.clip(means[..., flags], 0.0, 1.0)))
        expected = np.arcsin(np.sqrt(np.clip(baseline.means[flags], 0.0, 1.0)))
        result[..., flags] = 2.0 * root * (angles - expected)
    return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """Sums within which no deviation of a window is over a bound."""

    low: FloatArray
    """Shape (windows, components)."""
    high: FloatArray


def limits(rows: IntArray, bounds: FloatArray, scales: FloatArray, baseline: Baseline) -> Limits:
    """Say what sums windows may have, so that most blocks need no more than a comparison.

    Args:
        rows: Of each window. Shape (windows,).
        bounds: Of absolute deviations. Shape (windows, components).
        scales: The whole numbers that stand for 1. Shape (components,).
        baseline: The reference.
    """
    root = np.sqrt(1.0 / (1.0 / rows + 1.0 / baseline.rows))[:, None]
    margin = bounds * baseline.sds / root
    low, high = baseline.means - margin, baseline.means + margin
    flags = baseline.flags
    angles = np.arcsin(np.sqrt(np.clip(baseline.means[flags], 0.0, 1.0)))
    turn = bounds[:, flags] / (2.0 * root)
    least, most = angles - turn, angles + turn
    low[:, flags] = np.where(least < 0.0, -np.inf, np.sin(np.maximum(least, 0.0)) ** 2)
    high[:, flags] = np.where(most > np.pi / 2, np.inf, np.sin(np.minimum(most, np.pi / 2)) ** 2)
    whole = rows[:, None] * scales
    return Limits(low=(low + ROUNDING) * whole, high=(high - ROUNDING) * whole)
