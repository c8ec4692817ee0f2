"""Isotonic regression: the nondecreasing curve that is nearest to points. Pure.

Pooled adjacent violators, in numpy and Python alone: one pass over blocks (Ayer et al., Annals of
Mathematical Statistics 26, 1955). Written here because SciPy's would be a package for one function.
"""

from dataclasses import dataclass

import numpy as np

from serving.monitor.labels.rows import FloatArray


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A fitted curve, linear between its corners and flat beyond them."""

    x: FloatArray
    y: FloatArray

    def at(self, values: FloatArray) -> FloatArray:
        """Return the curve's values."""
        return np.asarray(np.interp(values, self.x, self.y))


def fit_isotonic(x: FloatArray, y: FloatArray, weight: FloatArray | None = None) -> Isotonic:
    """Fit a curve to at least one point; equal `x` are one point."""
    given = np.ones(len(x)) if weight is None else weight
    corners, inverse = np.unique(x, return_inverse=True)
    mass = np.bincount(inverse, weights=given).astype(np.float64)
    mean = np.bincount(inverse, weights=given * y) / mass
    return Isotonic(corners, pooled(mean, mass))


def pooled(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the nearest nondecreasing sequence, by weighted squares."""
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for value, mass in zip(values.tolist(), weight.tolist(), strict=True):
        size = 1
        while means and means[-1] >= value:
            total = masses[-1] + mass
            value = (means.pop() * masses[-1] + value * mass) / total  # noqa: PLW2901  the block's
            masses.pop()
            mass, size = total, size + sizes.pop()  # noqa: PLW2901  likewise
        means.append(value)
        masses.append(mass)
        sizes.append(size)
    return np.repeat(np.asarray(means, dtype=np.float64), sizes)
