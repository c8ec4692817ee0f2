"""Made-up inputs, first runs and the proof of the batch dimension, without an engine."""

import numpy as np
import pytest

from runtimes.batch_proof import settle_signature
from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from runtimes.generated_feeds import make_feeds
from runtimes.signature import Configured
from runtimes.warmup import RUNS, warm_up
from tests.fakes.function_model import Compute, FunctionModel


def spec(name: str, *shape: int, datatype: Datatype = Datatype.FP32) -> TensorSpec:
    """Make a tensor spec."""
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def model_of(compute: Compute, notes: tuple[str, ...] = ()) -> FunctionModel:
    """Make a model x FP32 [-1,4] → y FP32 [-1,4]."""
    return FunctionModel((spec("x", -1, 4),), (spec("y", -1, 4),), compute, notes)


def first(feeds: list[Array | None]) -> Array:
    """Return the first feed, which must be there."""
    assert feeds[0] is not None
    return feeds[0]


class Ticks:
    """A clock that advances by a fixed step with every look at it."""

    def __init__(self, step_s: float) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        """Return the time."""
        self.now_s += self.step_s
        return self.now_s


@pytest.mark.parametrize("datatype", list(Datatype))
def test_feeds_have_the_right_dtype(datatype: Datatype) -> None:
    """Every datatype can be made up, C-contiguous, scalars and empty tensors too."""
    specs = [spec(name, *shape, datatype=datatype) for name, shape in
             (("a", (-1, 3)), ("b", ()), ("c", (0, 2)), ("d", (-1, -1)))]  # fmt: skip

    feeds = make_feeds(specs, rows=2, free_size=5)

    assert feeds is not None
    assert [one.shape for one in feeds if one is not None] == [(2, 3), (), (0, 2), (2, 5)]
    assert all(one is not None and one.dtype == DTYPES[datatype] for one in feeds)
    assert all(one is not None and one.flags.c_contiguous for one in feeds)


def test_texts_are_str_objects() -> None:
    """BYTES elements are `str`: nothing else may reach an engine."""
    feeds = make_feeds([spec("t", 8, datatype=Datatype.BYTES)], rows=1, free_size=1)

    assert feeds is not None
    assert {type(text) for text in first(feeds)} == {str}


def test_equal_seeds_give_equal_feeds() -> None:
    """Feeds are a pure function of their arguments, and other seeds give other values."""
    one, same, other = (
        make_feeds([spec("x", -1, 4)], rows=2, free_size=1, seed=seed) for seed in (0, 0, 1)
    )

    assert one is not None
    assert same is not None
    assert other is not None
    assert np.array_equal(first(one), first(same))
    assert not np.array_equal(first(one), first(other))


def test_huge_inputs_are_not_made_up() -> None:
    """A spec with many free dimensions does not fill the memory."""
    assert make_feeds([spec("x", *[-1] * 6)], rows=1, free_size=64) is None


def test_optional_inputs_are_left_out() -> None:
    """An optional input is None in made-up feeds."""
    bias = TensorSpec(name="bias", datatype=Datatype.FP32, shape=(4,), optional=True)

    assert make_feeds([bias], rows=1, free_size=1) == [None]


def test_warm_up_times_one_row() -> None:
    """The median of the runs after the first is told, in seconds."""
    model = model_of(lambda feeds: [first(feeds)])

    found = warm_up(model, model.inputs, now_s=Ticks(0.001))

    assert found.run_s == pytest.approx(0.001)
    assert model.runs == [[(1, 4)]] * RUNS


def test_a_slow_model_is_run_once() -> None:
    """The budget ends the runs, after the first at the earliest."""
    model = model_of(lambda feeds: [first(feeds)])

    found = warm_up(model, model.inputs, now_s=Ticks(0.2))

    assert found.run_s == pytest.approx(0.2)
    assert len(model.runs) == 1


def test_sizes_are_tried_until_one_fits() -> None:
    """A free dimension gets the sizes that networks commonly want, in order."""

    def wants_64(feeds: list[Array | None]) -> list[Array]:
        if first(feeds).shape[1] != 64:
            raise InvalidArgumentError("not 64")
        return [first(feeds)]

    model = FunctionModel((spec("x", -1, -1),), (spec("y", -1, -1),), wants_64)

    assert warm_up(model, model.inputs, now_s=Ticks(0.001)).free_size == 64


def test_a_refusal_is_a_note() -> None:
    """A model that takes no made-up input is loaded all the same, and a note says why."""

    def refuse(_: list[Array | None]) -> list[Array]:
        raise InvalidArgumentError("rate must be 8000")

    found = warm_up(model_of(refuse), (spec("x", -1, 4),), now_s=Ticks(0.001))

    assert found.run_s is None
    assert "rate must be 8000" in found.note


def test_independent_rows_are_proven() -> None:
    """A model whose rows stay apart may batch without being told."""
    signature = settle_signature(
        model_of(lambda feeds: [first(feeds) * 2]), Configured(), default_max_batch_rows=16
    )

    assert signature.max_batch_rows == 16
    assert not signature.unproven
    assert "was inferred" in signature.notes[0]


def quantise(feeds: list[Array | None]) -> list[Array]:
    """Round to 255 steps of the whole batch's range, as dynamic quantisation does."""
    step = np.abs(first(feeds)).max() / 255
    return [(np.round(first(feeds) / step) * step).astype(np.float32)]


def count_rows(feeds: list[Array | None]) -> list[Array]:
    """Divide by the number of rows."""
    return [(first(feeds) / len(first(feeds))).astype(np.float32)]


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda feeds: [first(feeds) - first(feeds).mean(axis=0)], "when other rows are beside"),
        (quantise, "when other rows are beside"),
        (lambda feeds: [np.roll(first(feeds), 1, axis=0)], "when other rows are beside"),
        (count_rows, "changes with the number of rows"),
        (lambda feeds: [first(feeds)[:1]], "4 rows gave output 'y' shape [1, 4]"),
    ],
    ids=["mean", "dynamic_quantisation", "shift", "row_count", "last_state_only"],
)
def test_rows_that_touch_are_found(compute: Compute, words: str) -> None:
    """Without proof calls are not joined, and the note says what was seen."""
    signature = settle_signature(model_of(compute), Configured())

    assert signature.max_batch_rows == 0
    assert words in signature.notes[0]


def test_a_configured_batch_is_not_questioned() -> None:
    """What the configuration says is taken without a run."""
    model = model_of(lambda feeds: [first(feeds)])

    signature = settle_signature(model, Configured(max_batch_rows=8))

    assert signature.max_batch_rows == 8
    assert model.runs == []


def test_state_forbids_an_inferred_batch() -> None:
    """A model that keeps state is never joined on a guess."""
    model = model_of(lambda feeds: [first(feeds)], notes=("changes its own attributes",))

    assert settle_signature(model, Configured()).max_batch_rows == 0


def test_no_proof_without_a_run() -> None:
    """A model that refuses made-up rows is served one call at a time."""

    def refuse(_: list[Array | None]) -> list[Array]:
        raise InvalidArgumentError("no")

    signature = settle_signature(model_of(refuse), Configured())

    assert signature.max_batch_rows == 0
    assert "refuses made-up rows" in signature.notes[0]
