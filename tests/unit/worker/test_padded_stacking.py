"""Batches of calls of different lengths: what the engine gets, and what each call gets back."""

from collections.abc import Sequence

import numpy as np
import pytest

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import EngineError
from serving.ids import VersionKey
from serving.registry.policies.padding_policy import padding_policy
from serving.wire.input_checks import InputChecks
from serving.wire.padding import Padding
from serving.wire.padding_fit import fit_padding
from serving.worker.executor import VersionRunner
from serving.worker.padded_stacking import PaddedStacker
from serving.worker.recorder import FIRST_THREAD_SLOT, FlightRecorder
from tests.fakes.batching import HeldCall
from tests.fakes.ensembles import served
from tests.fakes.function_model import Compute, FunctionModel
from tests.fakes.padded_models import (
    HIDDEN,
    INPUTS,
    OUTPUTS,
    answer,
    checks_of,
    declared,
    decoded,
    texts,
)

RNG = np.random.default_rng(5)
FREE = TensorSpec(name="scores", datatype=Datatype.FP32, shape=(-1, 8))


def padding_for(outputs: Sequence[TensorSpec] = OUTPUTS, **given: str) -> Padding:
    """Bind padding to the inputs of `masked_mean`."""
    padding = fit_padding(padding_policy(declared(**given)), served(INPUTS, outputs, 64))
    assert padding is not None
    return padding


class Text(HeldCall):
    """A call that keeps its answer as it is."""

    def __init__(self, checks: InputChecks, inputs: dict[str, Array]) -> None:
        super().__init__(0.0)
        self.inputs = inputs
        self.call = decoded(checks, list(inputs.values()))
        self.rows = self.call.rows
        self.stack_key = self.call.stack_key


def computed(feeds: list[Array | None]) -> list[Array]:
    """Compute `masked_mean`."""
    ids, mask = feeds
    assert ids is not None
    assert mask is not None
    return list(answer({"input_ids": ids, "attention_mask": mask}))


def runner_of(
    padding: Padding, compute: Compute = computed, outputs: tuple[TensorSpec, ...] = OUTPUTS
) -> tuple[VersionRunner, FunctionModel]:
    """Return a runner that pads, and its model."""
    model = FunctionModel(INPUTS, outputs, compute)
    stacker = PaddedStacker(INPUTS, outputs, max_batch_rows=64, padding=padding)
    note = FlightRecorder(None).note(VersionKey("texts", 1))
    return VersionRunner(model, stacker, note, iter(range(10_000)).__next__), model


def calls_of(padding: Padding, *shapes: tuple[int, int]) -> list[Text]:
    """Make calls of so many rows and such lengths."""
    checks = checks_of(padding)
    return [Text(checks, texts(RNG, rows, length)) for rows, length in shapes]


def run(runner: VersionRunner, calls: Sequence[Text]) -> list[list[Array]]:
    """Run calls in one go; return what each got."""
    got: dict[int, list[Array]] = {}
    for part in runner.run(calls, sum(call.rows for call in calls), FIRST_THREAD_SLOT):
        assert part.error is None
        for call, outputs in zip(part.batch, part.outputs, strict=True):
            got[id(call)] = list(outputs)
    return [got[id(call)] for call in calls]


def test_a_batch_is_padded_to_its_longest_call() -> None:
    """Not to the bucket; and each call gets its own rows in its own length."""
    padding = padding_for()
    runner, model = runner_of(padding)
    calls = calls_of(padding, (1, 3), (2, 6), (1, 5))

    got = run(runner, calls)

    assert model.runs == [[(4, 6), (4, 6)]]
    for call, outputs in zip(calls, got, strict=True):
        for found, wanted in zip(outputs, answer(call.inputs), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_what_is_padded_has_the_value_that_was_declared() -> None:
    """0 where nothing is said; a call's own elements stay what they were."""
    padding = padding_for(pad_values="input_ids:7")
    stacker = PaddedStacker(INPUTS, OUTPUTS, max_batch_rows=64, padding=padding)
    calls = calls_of(padding, (1, 2), (1, 4))

    ids, mask = stacker.feeds(calls, 2)

    assert ids is not None
    assert mask is not None
    assert ids[0].tolist() == [*calls[0].inputs["input_ids"][0].tolist(), 7, 7]
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_equal_lengths_are_not_copied_into_longer_ones() -> None:
    """One call alone, and calls of one length, run as they would without padding."""
    padding = padding_for()
    runner, model = runner_of(padding)

    run(runner, calls_of(padding, (2, 3)))
    run(runner, calls_of(padding, (1, 5), (2, 5)))

    assert model.runs == [[(2, 3), (2, 3)], [(3, 5), (3, 5)]]


def test_padding_leaves_calls_as_they_came() -> None:
    """Who looks at answered calls sees nothing of it: neither in what they asked, nor got."""
    padding = padding_for()
    runner, _ = runner_of(padding)
    calls = calls_of(padding, (1, 3), (2, 6))
    asked = [call.call for call in calls]

    (part,) = runner.run(calls, 3, FIRST_THREAD_SLOT)

    assert [item.call for item in part.batch] == asked
    assert [call.shapes for call in asked] == [((1, 3), (1, 3)), ((2, 6), (2, 6))]
    assert [outputs[0].shape for outputs in part.outputs] == [(1, 3, 4), (2, 6, 4)]


def test_a_culprit_fails_alone_among_other_lengths() -> None:
    """The others are answered in batches that are padded anew."""
    padding = padding_for()

    def picky(feeds: list[Array | None]) -> list[Array]:
        if feeds[0] is not None and (feeds[0] == 15).any():
            raise EngineError("fifteen")
        return computed(feeds)

    runner, _ = runner_of(padding, picky)
    calls = calls_of(padding, (1, 3), (1, 6), (1, 5))
    for call in calls:
        call.inputs["input_ids"] %= 15
        call.call = decoded(checks_of(padding), list(call.inputs.values()))
    calls[1].inputs["input_ids"][0, 2] = 15
    calls[1].call = decoded(checks_of(padding), list(calls[1].inputs.values()))

    parts = runner.run(calls, 3, FIRST_THREAD_SLOT)

    failed = [item for part in parts if part.error is not None for item in part.batch]
    assert failed == [calls[1]]
    for part in parts:
        for call, outputs in zip(part.batch, part.outputs, strict=False):
            np.testing.assert_array_equal(outputs[1], answer(call.inputs)[1])  # type: ignore[attr-defined]  a Text
    assert runner.is_stackable


@pytest.mark.parametrize(
    ("outputs", "cut"),
    [((HIDDEN,), "last_hidden_state:1"), ((FREE,), "")],
    ids=["longer by one", "declared as fixed"],
)
def test_an_output_that_does_not_follow_the_length_ends_stacking(
    outputs: tuple[TensorSpec, ...], cut: str
) -> None:
    """Nobody gets another length than alone: calls run one by one from then on."""
    padding = padding_for(outputs, cut=cut)

    def odd(feeds: list[Array | None]) -> list[Array]:
        ids = feeds[0]
        assert ids is not None
        shape = (*ids.shape[:1], ids.shape[1] + 1, 4)[: len(outputs[0].shape)]
        return [np.full(shape, ids.shape[1], np.float32)]

    runner, _ = runner_of(padding, odd, outputs)
    calls = calls_of(padding, (1, 3), (1, 6))

    got = run(runner, calls)

    assert [found[0].shape[1] for found in got] == [4, 7]
    assert not runner.is_stackable
