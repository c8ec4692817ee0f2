"""Hypothesis strategies for tensors of every datatype, shape and value."""

from math import prod

import numpy as np
from hypothesis import strategies as st

from runtimes.datatypes import DTYPES, Datatype
from serving.wire.call import Array

FIXED = tuple(datatype for datatype in Datatype if datatype is not Datatype.BYTES)
JSON_TYPES = tuple(
    datatype for datatype in Datatype if datatype not in (Datatype.FP16, Datatype.BF16)
)

shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@st.composite
def tensors(draw: st.DrawFn, datatypes: tuple[Datatype, ...] = tuple(Datatype)) -> Array:
    """Draw an array: any bits for numbers (NaN, infinities and extremes included), any text."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(shapes)
    count = prod(shape)
    dtype = DTYPES[datatype]
    if datatype is Datatype.BYTES:
        array = np.empty(count, dtype=object)
        array[:] = draw(st.lists(st.text(max_size=6), min_size=count, max_size=count))
        return array.reshape(shape)
    size = count * dtype.itemsize
    content = draw(st.binary(min_size=size, max_size=size))
    if datatype is Datatype.BOOL:
        return (np.frombuffer(content, np.uint8) % 2).astype(bool).reshape(shape)
    return np.frombuffer(content, dtype).reshape(shape)
