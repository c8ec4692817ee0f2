"""Padding, bound to a model's tensors: what fits, which calls may run together, who is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError, ModelLoadError
from serving.registry.policies.padding_policy import padding_policy
from serving.wire.padding import Padding
from serving.wire.padding_fit import fit_padding
from tests.fakes.padded_models import INPUTS, OUTPUTS, checks_of, declared, decoded

TEXT = TensorSpec(name="text", datatype=Datatype.BYTES, shape=(-1, -1))
FIXED = TensorSpec(name="fixed", datatype=Datatype.FP32, shape=(-1, 16))
FLAG = TensorSpec(name="flag", datatype=Datatype.BOOL, shape=(-1, -1))
HALF = TensorSpec(name="half", datatype=Datatype.FP16, shape=(-1, -1))
SHORT = TensorSpec(name="short", datatype=Datatype.BF16, shape=(-1, -1))
SMALL = TensorSpec(name="small", datatype=Datatype.UINT8, shape=(-1, -1))
BIG = TensorSpec(name="big", datatype=Datatype.UINT64, shape=(-1, -1))
FLOAT = TensorSpec(name="float", datatype=Datatype.FP32, shape=(-1, -1))


@dataclass(frozen=True)
class Model:
    """Tensors on paper."""

    inputs: tuple[TensorSpec, ...] = (*INPUTS, TEXT, FIXED, FLAG, HALF, SHORT, SMALL, BIG, FLOAT)
    outputs: tuple[TensorSpec, ...] = OUTPUTS
    max_batch_rows: int = 64


def fitted(parameters: dict[str, str], model: Model | None = None) -> Padding:
    """Bind parameters to a model."""
    padding = fit_padding(padding_policy(parameters), model or Model())
    assert padding is not None
    return padding


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (declared(axes="ids:1"), "pad_axes names input 'ids', which the model does not have"),
        (declared(axes="embedding:1"), "pad_axes names input 'embedding', which the model"),
        (declared(cut="input_ids:1"), "cut_axes names output 'input_ids', which the model"),
        (
            declared(axes="input_ids:2"),
            "pad_axes has 'input_ids:2', and input 'input_ids' has shape [-1,-1]: axes from 1 to 1",
        ),
        (declared(axes="fixed:1"), "input 'fixed' has shape [-1,16]: its axis 1 is fixed at 16"),
        (declared(cut="embedding:1"), "output 'embedding' has shape [-1,4]: its axis 1 is fixed"),
        (declared(axes="text:1"), "pad_axes has 'text:1', and input 'text' is BYTES"),
        (declared(cut=""), "cut_axes does not have 'last_hidden_state:1', and output"),
        (declared(axes="small:1", pad_values="small:256"), "pad_values has 'small:256', and input"),
        (declared(axes="small:1", pad_values="small:0.5"), "'small' is UINT8: a value of that"),
        (declared(axes="half:1", pad_values="half:1e6"), "'half' is FP16: a value of that"),
        (declared(axes="float:1", pad_values="float:nan"), "'float' is FP32: a value of that"),
        (declared(axes="flag:1", pad_values="flag:2"), "'flag' is BOOL: a value of that"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(parameters: dict[str, str], says: str) -> None:
    """At load, with the parameter's name, the tensor's, and what it is."""
    with pytest.raises(ModelLoadError) as caught:
        fitted(parameters)
    assert caught.value.message.startswith("parameters: ")
    assert says in caught.value.message


def test_a_model_without_a_batch_dimension_pads_nothing() -> None:
    """Its calls never run together, so asking for it is a mistake."""
    with pytest.raises(ModelLoadError, match="max_batch_size is 0: the model has no batch"):
        fitted(declared(), replace(Model(), max_batch_rows=0))


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        (FLAG, "true", True),
        (SMALL, "255", 255),
        (BIG, str(2**64 - 1), 2**64 - 1),
        (FLOAT, "-inf", -np.inf),
        (SHORT, "-0.5", -0.5),
        (HALF, "2.5", 2.5),
    ],
)
def test_values_are_those_of_the_datatype(spec: TensorSpec, text: str, value: float) -> None:
    """What is written in the configuration stands in the padding, exactly."""
    padding = fitted(declared(axes=f"{spec.name}:1", pad_values=f"{spec.name}:{text}"))
    ones = np.ones((1, 2), DTYPES[spec.datatype])

    batch = padding.inputs[0].joined([ones], 3)

    assert batch.dtype == ones.dtype
    assert batch[0].tolist() == [*ones[0].tolist(), ones.dtype.type(value).tolist()]


def test_several_axes_of_an_input_are_one_length() -> None:
    """A square mask is padded along both, everywhere outside its own square."""
    square = TensorSpec(name="square", datatype=Datatype.FP32, shape=(-1, -1, -1))
    model = Model(inputs=(square,), outputs=())
    padding = fitted(declared(axes="square:1,square:2", cut="", pad_values="square:-1"), model)

    batch = padding.inputs[0].joined([np.ones((1, 2, 2), "<f4"), np.zeros((2, 3, 3), "<f4")], 3)

    assert batch[0].tolist() == [[1, 1, -1], [1, 1, -1], [-1, -1, -1]]
    assert not batch[1:].any()


def key_of(padding: Padding | None, length: int, rows: int = 1) -> object:
    """Return the key of a call."""
    zeros = np.zeros((rows, length), np.int64)
    return decoded(checks_of(padding), [zeros, zeros]).stack_key


def test_lengths_of_one_bucket_may_run_together() -> None:
    """Up to and with the bucket; above the largest, and for nothing at all, only equal ones may."""
    padding = fitted(declared("8,16"), Model(inputs=INPUTS))

    assert key_of(padding, 1) == key_of(padding, 5, rows=3) == key_of(padding, 8)
    assert key_of(padding, 9) == key_of(padding, 16)
    keys = [key_of(padding, length) for length in (0, 8, 16, 17, 18)]
    assert len(set(keys)) == len(keys)
    assert key_of(padding, 17) == key_of(padding, 17, rows=2)
    assert key_of(None, 7) != key_of(None, 8)


def test_other_free_dimensions_still_tell_calls_apart() -> None:
    """Only what is declared is padded."""
    image = TensorSpec(name="image", datatype=Datatype.FP32, shape=(-1, -1))
    inputs = (*INPUTS, image)
    padding = fitted(declared(), Model(inputs=inputs))
    checks = checks_of(padding, inputs)

    def key(length: int, columns: int) -> object:
        zeros = np.zeros((1, length), np.int64)
        arrays: list[Array] = [zeros, zeros, np.zeros((1, columns), np.float32)]
        return decoded(checks, arrays, inputs).stack_key

    assert key(3, 4) == key(5, 4) != key(5, 6)


def test_a_call_whose_lengths_differ_is_refused() -> None:
    """The caller is told the input, what came and what was expected."""
    padding = fitted(declared(), Model(inputs=INPUTS))
    with pytest.raises(InvalidArgumentError) as caught:
        decoded(checks_of(padding), [np.zeros((1, 7), np.int64), np.zeros((1, 5), np.int64)])
    assert caught.value.message == (
        "[request id: <id_unknown>] unexpected shape for input 'attention_mask' for model 'texts'. "
        "Expected 7 along axis 1, as input 'input_ids' has, got 5: they are padded together"
    )


def test_an_input_that_was_left_out_is_not_asked() -> None:
    """An optional one that is padded may be missing; the others are of one length all the same."""
    padding = fitted(declared(), Model(inputs=INPUTS))

    assert padding.bucketed([None, (2, 5)], "m") == [None, (2, 8)]
    assert padding.bucketed([None, None], "m") == [None, None]
