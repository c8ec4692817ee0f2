"""Configured tensors ↔ arguments and results of `forward`."""

import pytest

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import ModelLoadError
from runtimes.torch_schema import Argument, bind_inputs, bind_outputs, config_to_write

TENSOR_A = Argument(name="a", kind="Tensor")
TENSOR_B = Argument(name="b", kind="Tensor")
RATE = Argument(name="sr", kind="int")


def spec(name: str, *shape: int, datatype: Datatype = Datatype.FP32) -> TensorSpec:
    """Make a tensor spec."""
    return TensorSpec(name=name, datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    "names", [("b", "a"), ("INPUT__1", "INPUT__0"), ("b", "INPUT__0"), ("x__1", "a")]
)
def test_inputs_are_bound_by_name_or_number(names: tuple[str, str]) -> None:
    """Argument names and Triton's numbering both work; the result is in the order of forward."""
    bound = bind_inputs([TENSOR_A, TENSOR_B], [spec(name, -1) for name in names])

    assert [(one.position, one.spec.name) for one in bound] == [(0, names[1]), (1, names[0])]


def test_a_single_value_feeds_an_int() -> None:
    """An int argument takes an integer tensor of one element."""
    (bound,) = bind_inputs([RATE], [spec("sr", 1, datatype=Datatype.INT64)])

    assert bound.kind == "int"


def test_arguments_with_defaults_may_be_left_out() -> None:
    """Only arguments without a default need an input."""
    optional = Argument(name="bias", kind="Optional[Tensor]", has_default=True)

    assert len(bind_inputs([TENSOR_A, optional], [spec("a", -1)])) == 1


@pytest.mark.parametrize(
    ("arguments", "declared", "words"),
    [
        ([TENSOR_A], [spec("z", -1)], "'z' fits no argument of forward, which are: a"),
        ([TENSOR_A], [spec("INPUT__1", -1)], "fits no argument"),
        ([TENSOR_A, TENSOR_B], [spec("a", -1)], "forward needs argument 'b'.*'INPUT__1'"),
        ([TENSOR_A], [spec("a", -1), spec("INPUT__0", -1)], "both feed argument 'a'"),
        ([TENSOR_A], [spec("a", -1, datatype=Datatype.BYTES)], "no text tensors"),
        ([RATE], [spec("sr", 1)], "one int: configure dims.*INT64.*says FP32"),
        ([RATE], [spec("sr", -1, 1, datatype=Datatype.INT64)], "max_batch_size 0"),
        ([Argument(name="l", kind="List[Tensor]")], [spec("l", -1)], r"is List\[Tensor\]; only"),
    ],
    ids=[
        "unknown", "beyond", "missing", "twice", "text", "float_for_int",
        "batched_int", "list",
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit(
    arguments: list[Argument], declared: list[TensorSpec], words: str
) -> None:
    """A configuration that does not fit forward is refused with what would fit."""
    with pytest.raises(ModelLoadError, match=words):
        bind_inputs(arguments, declared)


def test_the_text_for_a_configuration_has_the_models_own_names_and_number() -> None:
    """Arguments that need a value, by name and kind, and as many outputs as forward returns."""
    flag = Argument(name="flag", kind="bool", has_default=True)

    assert config_to_write([TENSOR_A, RATE, flag], 2).splitlines() == [
        'input { name: "a" data_type: TYPE_FP32 dims: [ -1, -1 ] }',
        'input { name: "sr" data_type: TYPE_INT64 dims: [ 1 ] }',
        'output { name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ -1, -1 ] }',
        'output { name: "OUTPUT__1" data_type: TYPE_FP32 dims: [ -1, -1 ] }',
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("OUTPUT__1", "OUTPUT__0"), (1, 0)),
        (("first", "second"), (0, 1)),
        (("OUTPUT__1", "other"), (0, 1)),
        (("OUTPUT__1",), (1,)),
    ],
)
def test_outputs_are_bound_by_number_or_order(
    names: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    """Numbers count if all names have one; a part of the results may be served."""
    assert bind_outputs(2, [spec(name, -1) for name in names]) == expected


@pytest.mark.parametrize(
    ("count", "declared", "words"),
    [
        (1, [spec("OUTPUT__1", -1)], "stands for result 1, and forward returns 1"),
        (1, [spec("a", -1), spec("b", -1)], "'b' stands for result 1"),
        (None, [spec("a", -1, datatype=Datatype.BYTES)], "no text tensors"),
    ],
    ids=["beyond", "too_many", "text"],
)
def test_outputs_that_do_not_fit(count: int | None, declared: list[TensorSpec], words: str) -> None:
    """An output that forward does not return is refused."""
    with pytest.raises(ModelLoadError, match=words):
        bind_outputs(count, declared)
