"""Many tiny models, each with weights of its own: an answer shows which model gave it.

y = x @ W + b with x FP32 [N,8] and y FP32 [N,4]. All numbers are eighths, so sums are exact. The
bias spells the model's number, and an x of zeros gives the bias.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from benchmarks.models.graphs import Graph, Port, node
from benchmarks.models.layout import ModelFolder

Array = np.ndarray[Any, np.dtype[np.float32]]

COLUMNS_IN: Final = 8
COLUMNS_OUT: Final = 4
MAX_ROWS: Final = 64


def name(index: int) -> str:
    """Return the name of one of them."""
    return f"many_{index:05}"


def many_models(count: int) -> Iterator[ModelFolder]:
    """Yield `count` models, numbered from 0."""
    for index in range(count):
        yield _graph(index).folder(name(index), MAX_ROWS)


def answer(index: int, x: Array) -> Array:
    """Return what model `index` answers to x of shape (rows, 8)."""
    return (x @ _weight(index) + _bias(index)).astype(np.float32)


def _weight(index: int) -> Array:
    rng = np.random.default_rng(index)
    return (rng.integers(-8, 9, (COLUMNS_IN, COLUMNS_OUT)) / 8).astype(np.float32)


def _bias(index: int) -> Array:
    return np.array([index, -index, index / 8, 1], np.float32)


def _graph(index: int) -> Graph:
    return Graph(
        nodes=[node("Gemm", ["x", "W", "b"], ["y"])],
        inputs=[Port("x", "FP32", ("N", COLUMNS_IN))],
        outputs=[Port("y", "FP32", ("N", COLUMNS_OUT))],
        weights={"W": _weight(index), "b": _bias(index)},
    )
