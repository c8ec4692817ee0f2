"""Bounds of a contract: a few values, compared one by one, are judged as many are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtimes.datatypes import Datatype
from serving.monitor.quality.bounds import FEW_VALUES, Bounds

NUMBERS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(NUMBERS | st.just(1.0), min_size=1, max_size=8), NUMBERS, NUMBERS)
def test_few_values_are_judged_as_many(values: list[float], low: float, high: float) -> None:
    """Whatever values and bounds: no more passes than with many values, and all that is sound."""
    few = np.array(values, np.float32)
    many = np.resize(few, FEW_VALUES + len(values))
    bounds = Bounds(np.float32(low), np.float32(high), 0, Datatype.FP32)

    passed = bounds.hold(few, 1)

    assert passed <= bounds.hold(many, 1)
    if np.isfinite(few).all():
        assert passed == bounds.hold(many, 1)
