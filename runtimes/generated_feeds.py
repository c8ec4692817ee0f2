"""Pure: plausible inputs made up from tensor specs, for warm-up runs and for proofs."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype

FREE_SIZES: Final = (16, 64, 1, 576)
"""Sizes tried for free dimensions, in this order: text lengths, images (networks that halve a
picture want multiples of 32), a single element, an audio chunk of 512 samples with 64 before it."""
ROW_SCALES: Final = (1.0, 0.125, 8.0, 0.5)
"""Rows differ in magnitude, so that a scale taken over the whole batch (dynamic quantisation) shows
up as a difference between a row alone and in company."""
MAX_ELEMENTS: Final = 1 << 24  # a spec of several free dimensions must not fill the memory

_FLOATS: Final = frozenset({Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64})


def make_feeds(
    specs: Sequence[TensorSpec], *, rows: int | None, free_size: int, seed: int = 0
) -> list[Array | None] | None:
    """Make one array for each required input; optional ones are left out.

    Floats are drawn from a fixed seed, integers are 0 or 1 (token ids, class numbers), texts "0"
    or "1". Equal arguments give equal feeds.

    Args:
        specs: The model's inputs.
        rows: Size of the free first dimension; None to treat it as any free dimension.
        free_size: Size of the other free dimensions.
        seed: Other seeds give other values.

    Returns:
        The feeds, or None where they would be too large to make up.
    """
    generator = np.random.default_rng(seed)
    feeds: list[Array | None] = []
    for spec in specs:
        shape = [free_size if dim == -1 else dim for dim in spec.shape]
        if rows is not None and spec.shape[:1] == (-1,):
            shape[0] = rows
        if np.prod(shape, dtype=np.float64) > MAX_ELEMENTS:
            return None
        feeds.append(None if spec.optional else _values(generator, spec.datatype, tuple(shape)))
    return feeds


def _values(generator: np.random.Generator, datatype: Datatype, shape: tuple[int, ...]) -> Array:
    if datatype in _FLOATS:
        numbers = generator.random(shape, dtype=np.float32)
        if shape:
            scales = np.resize(np.asarray(ROW_SCALES, np.float32), shape[0])
            numbers *= scales.reshape(-1, *(1,) * (len(shape) - 1))
        return np.asarray(numbers, dtype=DTYPES[datatype])
    bits = np.asarray(generator.integers(0, 2, shape))
    if datatype is Datatype.BYTES:
        return np.asarray(np.where(bits, "1", "0")).astype(object)
    return bits.astype(DTYPES[datatype])
