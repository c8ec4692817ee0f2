"""The numbers inside the small models: chosen so that a person can work out an answer."""

from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

MID_SEED: Final = 7
MID_LAYERS: Final = ("first", *["hidden"] * 7, "last")
"""The hidden layers share one matrix: 7 MB on disk instead of 31."""
MID_COLUMNS: Final = 1024
LARGE_COLUMNS: Final = 2048
ROW_COLUMNS: Final = 512
ANSWER_COLUMNS: Final = 64
DenseWeights = dict[str, tuple[Array, Array]]
"""Layer → weight of shape (in, out) and bias of shape (out,)."""


def tiny_weight() -> Array:
    """Shape (16, 4): multiples of 1/4 between -3/4 and 3/4, so that sums are exact."""
    rows, columns = np.arange(16)[:, None], np.arange(4)
    return (((4 * rows + columns) % 7 - 3) / 4).astype(np.float32)


def tiny_bias() -> Array:
    """Shape (4,): 0, 1/2, 1, 3/2."""
    return (np.arange(4) / 2).astype(np.float32)


def mid_weights() -> DenseWeights:
    """Return the weights of `mid`."""
    return dense_weights(MID_COLUMNS)


def large_weights() -> DenseWeights:
    """Return the weights of `large`: four times the work of `mid` for the same rows."""
    return dense_weights(LARGE_COLUMNS)


def dense_weights(hidden_columns: int) -> DenseWeights:
    """Return the weights of a model with `MID_LAYERS` whose hidden layers are so wide."""
    sizes = (
        ("first", ROW_COLUMNS, hidden_columns),
        ("hidden", hidden_columns, hidden_columns),
        ("last", hidden_columns, ANSWER_COLUMNS),
    )
    rng = np.random.RandomState(MID_SEED)  # the old generator: its stream is frozen
    return {
        layer: (
            (rng.standard_normal((rows, columns)) * (2.0 / rows) ** 0.5).astype(np.float32),
            (rng.standard_normal(columns) * 0.01).astype(np.float32),
        )
        for layer, rows, columns in sizes
    }


def dense_answer(weights: DenseWeights, x: Array) -> Array:
    """Work out what a model with these weights answers to rows."""
    for layer in MID_LAYERS[:-1]:
        weight, bias = weights[layer]
        x = np.maximum(x @ weight + bias, 0)
    weight, bias = weights[MID_LAYERS[-1]]
    answer: Array = x @ weight + bias
    return answer
