"""Flat JSON to an infer call and back."""

import contextlib
import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.edge.generate import MAX_LOOSE_BYTES, fitting_shape, from_infer, into_infer

TEXT = TensorSpec(name="text", datatype=Datatype.BYTES, shape=(-1, 1))


def spec(*shape: int) -> TensorSpec:
    """An input of some shape."""
    return TensorSpec(name="x", datatype=Datatype.FP32, shape=shape)


def test_names_of_inputs_are_tensors_and_the_others_parameters() -> None:
    """`parameters` is flattened; the id is the call's."""
    asked = {"id": "42", "text": "hi", "stream": False, "parameters": {"top": 3, "rest": "r"}}
    assert into_infer(asked, [TEXT]) == {
        "id": "42",
        "parameters": {"stream": False, "top": 3, "rest": "r"},
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["hi"]}],
    }


@pytest.mark.parametrize("level", ["", "parameters"])
def test_outputs_as_bytes_are_refused(level: str) -> None:
    """The reply is JSON; a model's own input of that name is its input."""
    asked: dict[str, object] = {"binary_data_output": True}
    with pytest.raises(InvalidArgumentError, match="'binary_data_output' is true"):
        into_infer({level: asked} if level else asked, [TEXT])
    own = TensorSpec(name="binary_data_output", datatype=Datatype.BOOL, shape=(-1,))
    (tensor,) = into_infer(asked, [own])["inputs"]  # type: ignore[misc]  # a list
    assert tensor["data"] == [True]


def test_an_input_may_stand_below_parameters() -> None:
    """It is a tensor there as well."""
    assert into_infer({"parameters": {"text": "hi"}}, [TEXT])["inputs"] == [
        {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["hi"]}
    ]


def test_a_reply_is_flat() -> None:
    """One element stands bare, several are a list; parameters of the reply stand beside them."""
    reply = {
        "model_name": "m",
        "model_version": "1",
        "parameters": {"took": 2},
        "outputs": [
            {"name": "a", "datatype": "BYTES", "shape": [1, 1], "data": ["hello"]},
            {"name": "b", "datatype": "INT32", "shape": [1, 2], "data": [1, 2]},
        ],
    }
    assert json.loads(from_infer(json.dumps(reply).encode())) == {
        "model_name": "m",
        "model_version": "1",
        "took": 2,
        "a": "hello",
        "b": [1, 2],
    }


@pytest.mark.parametrize(
    ("data", "shape", "answer"),
    [
        (b"[0.10,1e3]", b"[2]", b"[0.10,1e3]"),
        (b"[0.10]", b"[1,1]", b"0.10"),
        (b"[]", b"[0]", b"[]"),
        (b'["NaN, [so] to say"]', b"[1]", b'"NaN, [so] to say"'),
        (b"[NaN,-Infinity]", b"[2]", b"[NaN,-Infinity]"),
        (b"[Infinity]", b"[1]", b"Infinity"),
    ],
)
def test_elements_stand_as_they_were(data: bytes, shape: bytes, answer: bytes) -> None:
    """Also those that have no JSON; and what only looks like one of them."""
    reply = b'{"id":"7","model_name":"m","model_version":"1","outputs":[{"name":"y",'
    reply += b'"datatype":"FP32","shape":%b,"data":%b}]}' % (shape, data)
    flat = b'{"id":"7","model_name":"m","model_version":"1","y":%b}' % answer
    assert from_infer(reply) == flat


def test_elements_are_not_read_one_by_one() -> None:
    """A long list makes no objects, however long it is; with a NaN in it, it would have to."""
    count = MAX_LOOSE_BYTES
    reply = b'{"outputs":[{"name":"y","shape":[%d],"data":[%b1]}]}' % (count, b"1," * (count - 1))
    tracemalloc.start()
    try:
        assert from_infer(reply).endswith(b"1,1]}")
        assert tracemalloc.get_traced_memory()[1] < 2 * len(reply)
    finally:
        tracemalloc.stop()
    with pytest.raises(UnsupportedError, match="has NaN or Infinity"):
        from_infer(reply.replace(b"1]", b"NaN]"))


@pytest.mark.parametrize(
    ("shape", "count", "fitting"),
    [
        ((), 1, []),
        ((-1, 16), 16, [1, 16]),
        ((-1, 16), 32, [2, 16]),
        ((-1, -1), 5, [1, 5]),
        ((2, -1, 3), 12, [2, 2, 3]),
        ((-1,), 0, [0]),
    ],
)
def test_the_innermost_free_dimension_takes_the_count(
    shape: tuple[int, ...], count: int, fitting: list[int]
) -> None:
    """Fixed dimensions first; other free ones are 1."""
    assert fitting_shape(spec(*shape), count) == fitting


@given(st.lists(st.sampled_from([-1, 1, 2, 3, 16])), st.integers(0, 100))
def test_a_shape_that_is_found_holds_all_elements(shape: list[int], count: int) -> None:
    """Any other count is refused, and nothing else is raised."""
    fitting: list[int] | None = None
    with contextlib.suppress(InvalidArgumentError):
        fitting = fitting_shape(spec(*shape), count)
    assert fitting is None or math.prod(fitting) == count


@given(st.lists(st.sampled_from([-1, 1, 2, 3, 16])), st.integers(0, 9))
def test_a_count_that_fits_gets_its_shape(shape: list[int], free: int) -> None:
    """Fixed dimensions stay as they are."""
    count = math.prod(size for size in shape if size != -1) * (free if -1 in shape else 1)
    fitting = fitting_shape(spec(*shape), count)
    assert math.prod(fitting) == count
    assert all(told in (-1, size) for told, size in zip(shape, fitting, strict=True))
