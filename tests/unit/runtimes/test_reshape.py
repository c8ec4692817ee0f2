"""Tensors whose shape on the wire is another than the model's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError
from runtimes.reshape import Reshape, require_equal_sizes, reshaped
from tests.fakes.function_model import FunctionModel


def spec(name: str, *shape: int) -> TensorSpec:
    """Make a tensor spec."""
    return TensorSpec(name=name, datatype=Datatype.FP32, shape=shape)


def move(dims: tuple[int, ...], shape: tuple[int, ...], name: str = "x") -> Reshape:
    """Make a reshape."""
    return Reshape(name=name, dims=dims, shape=shape)


def _first(feeds: list[Array | None]) -> list[Array]:
    return [array for array in feeds if array is not None]


def twice(rows: int = 4) -> FunctionModel:
    """Return a model that doubles an input of shape [N, rows]."""
    return FunctionModel(
        (spec("x", -1, rows),),
        (spec("y", -1, rows),),
        lambda feeds: [2 * array for array in feeds if array is not None],
    )


def test_callers_see_dims_and_the_model_its_own_shape() -> None:
    """Inputs are reshaped before the model runs, outputs after; the batch stays in front."""
    inner = twice()

    model = reshaped(inner, [move((2, 2), (4,))], [move((1, 4), (4,), "y")])
    found = model.run([np.arange(12, dtype=np.float32).reshape(3, 2, 2)])

    assert model.inputs == (spec("x", -1, 2, 2),)
    assert model.outputs == (spec("y", -1, 1, 4),)
    assert inner.runs == [[(3, 4)]]
    assert np.array_equal(found[0], 2 * np.arange(12, dtype=np.float32).reshape(3, 1, 4))


def test_an_empty_shape_takes_the_dimension_away() -> None:
    """Dims [1] with an empty reshape is Triton's way to a model that takes one value a row."""
    inner = FunctionModel((spec("x", -1),), (spec("y", -1),), _first)

    model = reshaped(inner, [move((1,), ())], [])

    assert model.inputs == (spec("x", -1, 1),)
    assert model.run([np.zeros((5, 1), np.float32)])[0].shape == (5,)
    assert inner.runs == [[(5,)]]


def test_free_dimensions_stand_for_each_other() -> None:
    """What comes for the first free dimension goes to the first one of the other shape."""
    inner = FunctionModel(
        (spec("x", -1, 8, -1, 6),), (spec("y", -1),), lambda _: [np.zeros(2, np.float32)]
    )

    model = reshaped(inner, [move((2, 4, -1, 6), (8, -1, 6))], [])
    model.run([np.zeros((2, 2, 4, 5, 6), np.float32)])

    assert inner.runs == [[(2, 8, 5, 6)]]


def test_a_vector_of_one_may_become_a_scalar() -> None:
    """Without a batch, dims [1] with an empty reshape feed a model that takes a scalar."""
    inner = FunctionModel((spec("x"),), (spec("y"),), lambda feeds: [2 * feeds[0]])
    model = reshaped(inner, [move((1,), ())], [move((1,), (), "y")])

    (answer,) = model.run([np.array([3], np.float32)])

    assert inner.runs == [[()]]
    assert answer.tolist() == [6]


def test_nothing_to_reshape_is_the_model_itself() -> None:
    """A model without reshapes is not wrapped: calls pay nothing."""
    inner = twice()

    assert reshaped(inner, [], []) is inner


@pytest.mark.parametrize("shape", [(5,), (2, 2), (4, 1, 1)])
def test_a_shape_that_the_model_does_not_have_is_refused(shape: tuple[int, ...]) -> None:
    """The configuration's idea of the model's shape is compared with the model's own."""
    inner = twice()

    with pytest.raises(ModelLoadError, match="and the model has"):
        reshaped(inner, [move(shape, shape)], [])

    assert inner.is_closed


def test_an_output_of_another_size_fails_its_call() -> None:
    """An output that does not become its dims is the engine's failure, with both shapes."""
    inner = FunctionModel(
        (spec("x", -1, 4),), (spec("y", -1, -1),), lambda _: [np.zeros((1, 5), np.float32)]
    )
    model = reshaped(inner, [], [move((2, 2), (4,), "y")])

    with pytest.raises(EngineError, match="does not become dims"):
        model.run([np.zeros((1, 4), np.float32)])


SIDES = st.lists(st.integers(1, 4), max_size=4)


@given(SIDES, SIDES)
def test_equal_sizes_are_what_numpy_can_reshape(one: list[int], other: list[int]) -> None:
    """Two fixed shapes are accepted exactly if an array of one can become the other."""
    fits = np.prod(one, dtype=int) == np.prod(other, dtype=int)
    try:
        require_equal_sizes(move(tuple(one), tuple(other)))
    except InvalidArgumentError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize(
    ("dims", "shape"), [((-1,), (4,)), ((-1, 2), (2, -1)), ((-1, -1), (-1,)), ((3,), (2,))]
)
def test_shapes_that_differ_are_refused(dims: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Free dimensions must be equally many, and what lies between them equally large."""
    with pytest.raises(InvalidArgumentError, match="do not hold the same elements"):
        require_equal_sizes(move(dims, shape))
