"""What a model and its configuration promise together."""

import pytest

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import ModelLoadError
from runtimes.signature import Configured, declared_inputs, read_signature


def spec(
    name: str, *shape: int, datatype: Datatype = Datatype.FP32, optional: bool = False
) -> TensorSpec:
    """Make a tensor spec."""
    return TensorSpec(name=name, datatype=datatype, shape=shape, optional=optional)


X = (spec("x", -1, 16),)
Y = (spec("y", -1, 4),)


def test_a_configured_batch_is_taken() -> None:
    """Configured dims exclude the batch dimension; metadata shows it as a leading -1."""
    configured = Configured(max_batch_rows=8, inputs=(spec("x", 16),), outputs=(spec("y", 4),))

    signature = read_signature(X, Y, configured)

    assert signature.max_batch_rows == 8
    assert (signature.inputs, signature.outputs) == (X, Y)
    assert not signature.unproven


def test_no_batch_means_full_shapes() -> None:
    """With max_batch_size 0 dims are the full shape, the free first dimension included."""
    configured = Configured(max_batch_rows=0, inputs=(spec("x", 4, 16),))

    signature = read_signature(X, Y, configured)

    assert signature.max_batch_rows == 0
    assert signature.inputs == (spec("x", 4, 16),)
    assert signature.outputs == Y


def test_an_unsaid_batch_is_a_guess() -> None:
    """Free first dimensions everywhere make a candidate that still has to be proven."""
    signature = read_signature(X, Y, Configured(), default_max_batch_rows=32)

    assert signature.unproven
    assert signature.max_batch_rows == 32
    assert signature.without_batch("why").max_batch_rows == 0
    assert not signature.without_batch("why").unproven
    assert signature.proven("how").notes == ("how",)


def test_an_unsaid_batch_takes_dims_without_it() -> None:
    """Where dims have one dimension less than the model, the first one is taken for the batch."""
    signature = read_signature(X, Y, Configured(inputs=(spec("x", 16),), outputs=(spec("y", 4),)))

    assert signature.unproven


@pytest.mark.parametrize(
    ("inputs", "outputs", "configured", "words"),
    [
        ((spec("x", 16),), Y, Configured(), "input 'x' has shape [16]"),
        (X, (spec("y"),), Configured(), "output 'y' has shape []"),
        ((), Y, Configured(), "no inputs or no outputs"),
        (X, Y, Configured(inputs=(spec("x", -1, 16),)), "dims [-1, 16]"),
    ],
    ids=["fixed_first", "scalar_output", "no_inputs", "full_dims"],
)
def test_no_candidate_is_explained(
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    configured: Configured,
    words: str,
) -> None:
    """A model that cannot batch is served one call at a time, and a note says why."""
    signature = read_signature(inputs, outputs, configured)

    assert (signature.max_batch_rows, signature.unproven) == (0, False)
    assert words in signature.notes[0]


@pytest.mark.parametrize(
    ("model", "dims", "rows", "expected"),
    [
        ((-1, -1), (16,), 4, (-1, 16)),
        ((-1, 16), (-1,), 4, (-1, 16)),
        ((-1, 0), (-1,), 4, (-1, 0)),
        ((-1, 0), (0,), 4, (-1, 0)),
        ((), (1,), 0, (1,)),
        ((), (), 0, ()),
        ((), (7,), 4, (-1, 7)),
        ((1, 4), (4,), 1, (-1, 4)),
        ((4, 16), (4, 16), 0, (4, 16)),
    ],
    ids=[
        "config_narrows", "config_free", "zero_size_free", "zero_size_told", "scalar_as_1",
        "scalar", "rank_unknown", "one_row", "fixed_without_batch",
    ],
)  # fmt: skip
def test_dims_that_fit(
    model: tuple[int, ...], dims: tuple[int, ...], rows: int, expected: tuple[int, ...]
) -> None:
    """Callers see what both sides allow."""
    configured = Configured(max_batch_rows=rows, inputs=(spec("x", *dims),))

    signature = read_signature((spec("x", *model),), (), configured)

    assert signature.inputs[0].shape == expected


@pytest.mark.parametrize(
    ("configured", "words"),
    [
        (
            Configured(max_batch_rows=64, inputs=(spec("x", 8),)),
            r"input 'x': the configuration says dims \[8\], the model has \[16\] after the batch",
        ),
        (
            Configured(max_batch_rows=0, inputs=(spec("x", 16),)),
            r"dims \[16\], the model has \[-1, 16\] \(full shape",
        ),
        (
            Configured(max_batch_rows=8, inputs=(spec("x", 16, datatype=Datatype.INT32),)),
            "FP32 in the model and INT32 in the configuration: write data_type: TYPE_FP32$",
        ),
        (Configured(inputs=(spec("z", 16),)), "input 'z', which the model does not have.*are x"),
        (
            Configured(inputs=(spec("x", 16), spec("x", 16))),
            "lists input 'x' twice",
        ),
        (Configured(outputs=(spec("q", 4),)), "output 'q', which the model does not have"),
    ],
    ids=["columns", "rank", "datatype", "unknown_input", "twice", "unknown_output"],
)
def test_a_contradiction_is_refused(configured: Configured, words: str) -> None:
    """Model and configuration that disagree are not served; both sides are named."""
    with pytest.raises(ModelLoadError, match=words):
        read_signature(X, Y, configured)


@pytest.mark.parametrize(
    ("model", "rows", "words"),
    [
        (spec("x", 4, 16), 4, r"max_batch_size 4 needs a free first dimension.*\[4, 16\]"),
        (spec("x", 1, 4), 2, "max_batch_size 2 needs a free first dimension"),
        (spec("x"), 2, "is a scalar, or the model does not state its rank"),
    ],
    ids=["fixed", "one_row_only", "scalar"],
)
def test_a_batch_needs_a_free_first_dimension(model: TensorSpec, rows: int, words: str) -> None:
    """Calls of 1 to max_batch_size rows must all fit the model."""
    with pytest.raises(ModelLoadError, match=words):
        read_signature((model,), (), Configured(max_batch_rows=rows))


def test_a_needed_input_must_be_configured() -> None:
    """A list of inputs may leave out optional ones only."""
    inputs = (*X, spec("index", -1, 1, datatype=Datatype.INT64))

    with pytest.raises(ModelLoadError, match=r"needs input 'index' \(INT64 \[-1, 1\]\)"):
        read_signature(inputs, Y, Configured(max_batch_rows=8, inputs=(spec("x", 16),)))


def test_an_optional_input_may_be_left_out() -> None:
    """An optional input stays as the model has it when the configuration does not list it."""
    inputs = (*X, spec("bias", 4, optional=True))

    signature = read_signature(inputs, Y, Configured(max_batch_rows=0, inputs=(spec("x", -1, 16),)))

    assert signature.inputs == inputs


def test_declared_tensors_have_full_shapes() -> None:
    """What a runtime is told has the batch dimension in front, if there is one."""
    batched = Configured(max_batch_rows=2, inputs=(spec("x", 16),))
    single = Configured(max_batch_rows=0, inputs=(spec("x", 16),))

    assert declared_inputs(batched)[0].shape == (-1, 16)
    assert declared_inputs(single)[0].shape == (16,)


def test_the_same_specs_give_the_same_signature() -> None:
    """The decision is a pure function."""
    assert read_signature(X, Y, Configured()) == read_signature(X, Y, Configured())
