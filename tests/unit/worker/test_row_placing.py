"""Rows on their way to be counted for drift: each is copied to its place, or marked missing."""

from math import log, log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.datatypes import DTYPES, Datatype
from serving.worker.drift.placing import MAX_TEXT, put_input, put_output
from serving.worker.drift.ring import RowRing, Slot
from serving.worker.drift.sampler import RowSampler

NUMERIC = [datatype for datatype, dtype in DTYPES.items() if dtype.kind in "biuf"]
COUNT = 3
FLOAT = Slot(dtype=np.dtype(np.float32), count=1)


@given(st.sampled_from(NUMERIC), st.integers(1, 5), st.data())
def test_a_row_of_numbers_is_copied_bit_by_bit(
    datatype: Datatype, rows: int, data: st.DataObject
) -> None:
    """Of an input's bytes and of an output's array, NaN's own bits among them."""
    dtype = DTYPES[datatype]
    size = COUNT * dtype.itemsize
    raw = data.draw(st.binary(min_size=rows * size, max_size=rows * size))
    row = data.draw(st.integers(0, rows - 1))
    slot = Slot(dtype=dtype, count=COUNT)
    ring = RowRing([FLOAT, slot, slot])

    put_input(ring, 1)(memoryview(raw), row, rows, 0)
    put_output(ring, 2)(np.frombuffer(raw, dtype).reshape(rows, COUNT), row, rows, 0)
    ring.put_count = 1
    values, is_there, _ = ring.take(1)

    assert [marks.tolist() for marks in is_there] == [[False], [True], [True]]
    expected = raw[row * size : row * size + size]
    assert values[1].tobytes() == values[2].tobytes() == expected


def test_a_tensor_of_another_size_or_type_is_marked_missing() -> None:
    """Also where the row before it in that place was there."""
    ring = RowRing([FLOAT, FLOAT, Slot(dtype=np.dtype(object), count=1)])
    puts = put_input(ring, 0), put_output(ring, 1), put_input(ring, 2)
    text = np.array([["a" * MAX_TEXT + "b"]], object)
    for put, tensor in zip(puts, (bytes(4), np.ones((1, 1), np.float32), text), strict=True):
        put(tensor, 0, 1, 0)
    ring.put_count = 1
    values, is_there, _ = ring.take(1)
    assert [marks.tolist() for marks in is_there] == [[True]] * 3
    assert values[2].tolist() == [["a" * MAX_TEXT]]

    unfit = (None, np.ones((1, 1), np.int32), np.array([["a", "b"]], object))
    for put, tensor in zip(puts, unfit, strict=True):
        put(tensor, 0, 1, 1)
    ring.put_count = 2
    assert [marks.tolist() for marks in ring.take(1)[1]] == [[False]] * 3


@given(
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
    st.integers(1, 2_000_000),
)
def test_distances_are_drawn_for_the_share_that_holds(draws: list[float], per_s: int) -> None:
    """Geometric ones: a share of all calls is chosen, each with the same chance."""
    left = iter(draws)
    sampler = RowSampler(1000.0, left.__next__)
    sampler.note(per_s, 1_000_000_000, 1_000_000_000)
    share = sampler.share
    assert share == pytest.approx(min(1.0, 1000.0 / per_s))

    for draw in draws:
        expected = 1 if share >= 1.0 else 1 + int(log(1.0 - draw) / log1p(-share))
        assert sampler.distance() == expected
