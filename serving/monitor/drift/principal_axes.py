"""Wide rows on few axes: those along which the reference varies most, learnt once. Pure."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from serving.monitor.drift.columns import FloatArray

MIXED_AXES: Final = 64
MIXTURES: Final = 16
MAX_ROWS: Final = 2_000
"""Axes are learnt from so many rows at the most."""


def learn_axes(rows: FloatArray, count: int) -> dict[str, FloatArray]:
    """Learn principal axes of standardised rows. Shape (rows, size)."""
    chosen = _filled(rows)
    means, scales = chosen.mean(axis=0), chosen.std(axis=0)
    scales = np.where(scales > 1e-12 * (1.0 + np.abs(means)), scales, 1.0)
    standard = (chosen - means) / scales
    if len(standard) <= standard.shape[1]:
        _, vectors = np.linalg.eigh(standard @ standard.T)
        axes = standard.T @ vectors[:, ::-1][:, :count]
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    else:
        _, vectors = np.linalg.eigh(standard.T @ standard)
        axes = vectors[:, ::-1][:, :count]
    return {"means": means, "scales": scales, "axes": np.ascontiguousarray(axes)}


def mixtures(rows: FloatArray, seed: int) -> dict[str, FloatArray]:
    """Learn axes whose scores, standardised, are mixed at random: no direction is left out."""
    learnt = learn_axes(rows, MIXED_AXES)
    spread = scores(rows, learnt).std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)  # noqa: PLR2004  an axis without rows along it
    drawn = np.random.default_rng(seed).standard_normal((learnt["axes"].shape[1], MIXTURES))
    drawn /= np.linalg.norm(drawn, axis=0)
    return {**learnt, "axes": learnt["axes"] / spread @ drawn}


def scores(rows: FloatArray, learnt: Mapping[str, FloatArray]) -> FloatArray:
    """Return the rows' scores; a row with anything missing or infinite has none."""
    is_there = np.isfinite(rows).all(axis=1)
    standard = (_filled(rows) - learnt["means"]) / learnt["scales"]
    found: FloatArray = standard @ learnt["axes"]
    found[~is_there] = np.nan
    return found


def _filled(rows: FloatArray) -> FloatArray:
    return np.where(np.isfinite(rows), rows, 0.0)
