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
