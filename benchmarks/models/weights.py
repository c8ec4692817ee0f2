"""The numbers inside the small models: chosen so that a person can work out an answer."""

from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

MID_SEED: Final = 7
MID_LAYERS: Final = ("first", *["hidden"] * 7, "last")
"""The hidden layers share one matrix: 7 MB on disk instead of 31."""
_MID_SIZES: Final = (("first", 512, 1024), ("hidden", 1024, 1024), ("last", 1024, 64))


def tiny_weight() -> Array:
    """Shape (16, 4): multiples of 1/4 between -3/4 and 3/4, so that sums are exact."""
    rows, columns = np.arange(16)[:, None], np.arange(4)
    return (((4 * rows + columns) % 7 - 3) / 4).astype(np.float32)


def tiny_bias() -> Array:
    """Shape (4,): 0, 1/2, 1, 3/2."""
    return (np.arange(4) / 2).astype(np.float32)


def mid_weights() -> dict[str, tuple[Array, Array]]:
    """Layer → weight of shape (in, out) and bias of shape (out,)."""
    rng = np.random.RandomState(MID_SEED)  # the old generator: its stream is frozen
    return {
        layer: (
            (rng.standard_normal((rows, columns)) * (2.0 / rows) ** 0.5).astype(np.float32),
            (rng.standard_normal(columns) * 0.01).astype(np.float32),
        )
        for layer, rows, columns in _MID_SIZES
    }
