"""Bounds of a contract: the cheap ways to compare say what comparing each value says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from serving.monitor.quality.bounds import FEW_VALUES, Bounds
from serving.monitor.quality.cells import FLOATS, bound
from serving.monitor.quality.judge import Judge
from serving.registry.contracts.contract_file import parse_contract

NUMBERS = st.floats(width=32, allow_nan=True, allow_infinity=True)
NUMERIC = [datatype for datatype, dtype in DTYPES.items() if dtype.kind in "iuf"]
LIMITS = st.integers(-120, 120)
ODD = (-0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 5e-324, 119.99)
"""What floats have besides usual numbers, and the least of these."""


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


@pytest.mark.parametrize("repeats", [1, FEW_VALUES])
@given(data=st.data(), datatype=st.sampled_from(NUMERIC), low=LIMITS, room=st.integers(0, 200))
def test_a_batch_passes_if_each_of_its_values_is_within_the_bounds(
    data: st.DataObject, datatype: Datatype, low: int, room: int, repeats: int
) -> None:
    """Of every datatype, few values and many; infinities, the least of numbers, and -0."""
    array = np.resize(data.draw(_arrays(datatype)), (repeats, 2))

    passed = _test_of(datatype, f"min: {low}, max: {low + room}")(array, repeats)

    assert passed == _are_within(array, low, low + room, datatype)


@given(data=st.data(), datatype=st.sampled_from(sorted(FLOATS - {Datatype.FP64})), low=LIMITS)
def test_columns_pass_if_each_of_their_values_is_within_its_bounds(
    data: st.DataObject, datatype: Datatype, low: int
) -> None:
    """Features of a matrix: the second column has bounds of its own, the first has none."""
    array = np.resize(data.draw(_arrays(datatype)), (3, 2))
    feature = f"features: {{f: {{input: x, column: 1, min: {low}, on_violation: count}}}}"

    passed = _holds(datatype, feature)(array, 3)

    is_known = not np.isnan(array[:, :1].astype(np.float32)).any()
    assert passed == (is_known and _are_within(array[:, 1:], low, np.inf, datatype))


def test_nothing_and_no_tensor_are_looked_at_closely() -> None:
    """There is something to say of them: values are missing."""
    holds = _test_of(Datatype.FP32, "min: 0, max: 9")

    assert not holds(np.ones((0, 2), np.float32), 0)
    assert not holds(None, 1)


def _arrays(datatype: Datatype) -> st.SearchStrategy[Array]:
    """Two values of a datatype: any bits, and those that are odd or near the limits."""
    dtype = DTYPES[datatype]
    size = 2 * dtype.itemsize
    bits = st.binary(min_size=size, max_size=size).map(lambda raw: np.frombuffer(raw, dtype))
    known: st.SearchStrategy[Any] = st.integers(0 if dtype.kind == "u" else -120, 120)
    if datatype in FLOATS:
        known = known | st.sampled_from(ODD)
    near = st.lists(known, min_size=2, max_size=2).map(
        lambda values: np.array(values).astype(dtype)
    )
    return bits | near


def _are_within(array: Array, low: float, high: float, datatype: Datatype) -> bool:
    """Compare each value by itself, as it is stored."""
    least, most = bound(low, datatype), bound(high, datatype)
    return all(least <= value <= most for value in array.ravel())


def _test_of(datatype: Datatype, rules: str) -> Any:  # noqa: ANN401  a function
    return _holds(datatype, f"inputs: {{x: {{{rules}, on_violation: count}}}}")


def _holds(datatype: Datatype, text: str) -> Any:  # noqa: ANN401  a function
    """Return what settles the only input under a contract."""
    contract = parse_contract(f"contract: 1\n{text}\n".encode())
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, 2))
    ((_, holds),) = Judge(contract, [spec], [], is_batched=True).input_tests
    return holds
