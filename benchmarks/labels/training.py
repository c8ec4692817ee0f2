"""A softmax regression in numpy, and its ONNX graph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.graphs import Graph, Port, node
from benchmarks.models.layout import ModelFolder

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
STEPS = 600
RATE = 0.5
CARRY = 0.9
MAX_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax:
    """Rows to probabilities."""

    mean: FloatArray
    scale: FloatArray
    weight: FloatArray
    """Shape (columns + 1, classes); the last row is the bias."""

    def probabilities(self, rows: FloatArray) -> FloatArray:
        """Return a probability for each class, of shape (rows, classes)."""
        return _softmax(_with_one((rows - self.mean) / self.scale) @ self.weight)

    def folder(self, name: str) -> ModelFolder:
        """Return the model in Triton's layout: x FP32 [N, columns] → p FP32 [N, classes]."""
        # The standardisation is part of the weights.
        weight = self.weight[:-1] / self.scale[:, None]
        bias = self.weight[-1] - self.mean @ weight
        columns, classes = weight.shape
        graph = Graph(
            nodes=[node("Gemm", ["x", "W", "b"], ["z"]), node("Softmax", ["z"], ["p"], axis=1)],
            inputs=[Port("x", "FP32", ("N", columns))],
            outputs=[Port("p", "FP32", ("N", classes))],
            weights={"W": weight.astype(np.float32), "b": bias.astype(np.float32)},
        )
        return graph.folder(name, MAX_ROWS)


def train(rows: FloatArray, classes: IntArray, *, decay: float = 1e-2) -> Softmax:
    """Fit by gradient descent with momentum; the same rows give the same model."""
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    given = _with_one((rows - mean) / scale)
    count = int(classes.max()) + 1
    wanted = np.eye(count)[classes]
    weight = np.zeros((given.shape[1], count))
    speed = np.zeros_like(weight)
    for _ in range(STEPS):
        slope = given.T @ (_softmax(given @ weight) - wanted) / len(rows)
        slope[:-1] += decay * weight[:-1]
        speed = CARRY * speed - RATE * (1 - CARRY) * slope
        weight += speed
    return Softmax(mean=mean, scale=scale, weight=weight)


def _with_one(rows: FloatArray) -> FloatArray:
    return np.hstack((rows, np.ones((len(rows), 1))))


def _softmax(values: FloatArray) -> FloatArray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
