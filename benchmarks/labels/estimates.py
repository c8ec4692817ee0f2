"""How far the estimate before labels is from the truth, with and without a shift of the inputs."""

from dataclasses import dataclass

import numpy as np

from benchmarks.labels.training import FloatArray, IntArray, train
from serving.monitor.labels.estimate import Scored, expected

SHIFT = 1.0
"""A row is drawn with a weight of exp(shift * z), z being its first principal score in sd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One run: the truth, and what was expected."""

    truth: float
    expected: float
    is_inside: bool


def miss(rows: FloatArray, classes: IntArray, seed: int, *, is_shifted: bool) -> Miss:
    """Train on a third, calibrate on a third, estimate the last one.

    The model sees few rows and has little regularisation, so that its scores need calibration.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows))
    first, second, last = np.array_split(order, 3)
    model = train(rows[first], classes[first], decay=1e-4)
    count = model.weight.shape[1]
    kept = classes[last] < count
    chosen = last[kept]
    if is_shifted:
        chosen = random.choice(chosen, len(chosen), p=_weights(rows[chosen], rows))
    scores = model.probabilities(rows[chosen])
    predicted = np.argmax(scores, axis=1).astype(np.int64)
    reference = Scored(model.probabilities(rows[second]), classes[second].astype(np.int64))
    names = tuple(map(str, range(count)))
    accuracy = expected(reference, scores, predicted, names).accuracy
    truth = float((predicted == classes[chosen]).mean())
    if accuracy is None:
        raise ValueError(f"seed {seed}: nothing was estimated")
    return Miss(
        truth=truth,
        expected=accuracy.value,
        is_inside=accuracy.low <= truth <= accuracy.high,
    )


def _weights(rows: FloatArray, of_all: FloatArray) -> FloatArray:
    scaled = (of_all - of_all.mean(axis=0)) / np.maximum(of_all.std(axis=0), 1e-6)
    _, _, axes = np.linalg.svd(scaled, full_matrices=False)
    own = (rows - of_all.mean(axis=0)) / np.maximum(of_all.std(axis=0), 1e-6)
    scores = own @ axes[0]
    weights = np.exp(SHIFT * (scores - scores.mean()) / scores.std())
    return np.asarray(weights / weights.sum())
