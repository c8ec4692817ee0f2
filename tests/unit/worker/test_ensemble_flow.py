"""Calls of an ensemble on their way, over models that answer by hand."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.datatypes import Datatype
from runtimes.errors import EngineError, InvalidArgumentError
from serving.errors import QueueFullError, QueueTimeoutError
from serving.ids import VersionKey
from serving.monitor.statistics import FailureReason, VersionStatistics
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.ensemble import EnsembleStep
from serving.registry.version import ServedVersion
from serving.wire.call import CallSpec
from serving.wire.input_checks import InputChecks
from serving.worker.cached_intake import CachedIntake
from serving.worker.ensemble_flow import BoundStep
from serving.worker.ensemble_intake import EnsembleIntake
from serving.worker.ensemble_plan import plan_ensemble
from serving.worker.handover import Miss, UnknownStepError
from serving.worker.response_cache import ResponseCache
from tests.fakes.batching import Bench, HandLoop, HeldCall
from tests.fakes.ensembles import SumIntake, served, step, tensor

CHAIN = (step("a", {"i0": "x"}, {"o": "h"}), step("b", {"i0": "h"}, {"o": "y"}))
FORK = (
    step("a", {"i0": "x"}, {"o": "h"}),
    step("b", {"i0": "x"}, {"o": "k"}),
    step("c", {"i0": "h", "i1": "k"}, {"o": "y"}),
)


def described(one: EnsembleStep, datatype: Datatype = Datatype.FP32) -> ServedVersion:
    """A model of sums with as many inputs as a step maps."""
    return served([tensor(link.own, datatype=datatype) for link in one.inputs], [tensor("o")])


class Stage:
    """An ensemble over models by hand."""

    def __init__(
        self,
        *steps: EnsembleStep,
        output: str = "y",
        cached: bool = False,
        datatype: Datatype = Datatype.FP32,
    ) -> None:
        self.loop = HandLoop()
        self.statistics = StatisticsRecorder(VersionKey("e", 1))
        self.models = [SumIntake() for _ in steps]
        members = [described(one, datatype) for one in steps]
        whole = served([tensor("x", datatype=datatype)], [tensor(output)])
        plan = plan_ensemble(whole, steps, members)
        cache = ResponseCache(1 << 20)
        recorder = StatisticsRecorder(VersionKey("m", 1))
        intakes = [
            CachedIntake(model, cache, recorder, self.loop.clock) if cached else model
            for model in self.models
        ]
        self.intake = EnsembleIntake(
            plan,
            [
                BoundStep(
                    plan=planned,
                    intake=intakes[at],
                    served=members[at],
                    checks=InputChecks(
                        CallSpec(
                            model=steps[at].model,
                            version=1,
                            inputs=members[at].inputs,
                            outputs=members[at].outputs,
                            max_batch_rows=8,
                        )
                    ),
                    default_timeout_ns=0,
                )
                for planned, at in zip(plan.steps, plan.members, strict=True)
            ],
            statistics=self.statistics,
            loop=self.loop,  # type: ignore[arg-type]  its parts that are used
            now_ns=self.loop.clock,
        )

    def ask(self, *values: float) -> HeldCall:
        """Hand in a call."""
        asked = HeldCall(*values)
        self.intake.submit(asked)
        return asked

    def counted(self) -> VersionStatistics:
        """Return the ensemble's statistics."""
        return self.statistics.snapshot(now_ns=self.loop.now_ns, now_ms=1, pending_count=0)


def test_tensors_go_from_step_to_step() -> None:
    """The second step gets what the first one gave, and the caller what the second gives."""
    stage = Stage(*CHAIN)
    asked = stage.ask(1.0, 5.0)
    stage.models[0].answer()
    assert asked.answer_count == 0
    stage.models[1].answer()
    assert asked.result == [3.0, 7.0]


@pytest.mark.parametrize("is_copy", [False, True])
def test_the_steps_of_a_copy_are_copies(is_copy: bool) -> None:  # noqa: FBT001  a case
    """No client asked for them: they are none of their models' traffic."""
    stage = Stage(step("a", {"i0": "x"}, {"o": "y"}))
    asked = HeldCall(1.0)
    asked.is_copy = is_copy  # as a call of shadow traffic is
    stage.intake.submit(asked)
    (waiting,) = stage.models[0].waiting
    assert waiting.is_copy is is_copy


def test_a_step_reads_the_very_memory_that_the_one_before_wrote() -> None:
    """Nothing is copied between two steps, and nobody may write into it."""
    stage = Stage(*CHAIN)
    stage.ask(1.0, 5.0)
    given = np.array([[2.0], [6.0]], np.float32)
    stage.models[0].waiting.pop().finish([given])
    (raw,) = stage.models[1].waiting[0].call.tensors
    read = np.frombuffer(raw, np.float32)
    assert np.shares_memory(read, given)
    assert not read.flags.writeable


def test_steps_that_do_not_wait_for_each_other_run_at_once() -> None:
    """Both branches of a fork wait at their models at the same time; the join waits for both."""
    stage = Stage(*FORK)
    asked = stage.ask(1.0)
    assert [len(model.waiting) for model in stage.models] == [1, 1, 0]
    stage.models[1].answer()
    assert not stage.models[2].waiting
    stage.models[0].answer()
    stage.models[2].answer()
    assert asked.result == [5.0]


def test_the_first_error_ends_the_call_and_names_its_step() -> None:
    """Its code stays; what else waits for the call leaves its queue."""
    stage = Stage(*FORK)
    asked = stage.ask(1.0)
    stage.models[1].fail(EngineError("boom"))
    assert isinstance(asked.error, EngineError)
    assert asked.error.message == "ensemble step 2 (model 'b'): boom"
    assert not stage.models[0].waiting
    assert asked.answer_count == 1
    assert stage.counted().failures[FailureReason.BACKEND] == 1


def test_a_full_queue_of_a_step_refuses_the_call() -> None:
    """Counted as rejected, as by the model itself."""
    stage = Stage(*CHAIN)
    stage.models[1].refusal = QueueFullError("Exceeds maximum queue size")
    asked = stage.ask(1.0)
    stage.models[0].answer()
    assert isinstance(asked.error, QueueFullError)
    assert "step 2 (model 'b'): Exceeds maximum queue size" in asked.error.message
    assert stage.counted().failures[FailureReason.REJECTED] == 1


def test_what_a_steps_error_says_beside_its_message_stays() -> None:
    """The caller hears when to come back, as a caller of the model itself."""
    stage = Stage(*CHAIN)
    asked = stage.ask(1.0)
    stage.models[0].fail(QueueTimeoutError("too late", retry_after_s=7))
    assert isinstance(asked.error, QueueTimeoutError)
    assert asked.error.retry_after_s == 7
    assert str(asked.error) == asked.error.message == "ensemble step 1 (model 'a'): too late"


def test_a_steps_error_may_have_any_constructor() -> None:
    """It is named after its step all the same, with all that it knows."""
    stage = Stage(*CHAIN)
    asked = stage.ask(1.0)
    miss = Miss("a", 7, 1)
    stage.models[0].fail(UnknownStepError(InvalidArgumentError("START missing"), miss))
    assert isinstance(asked.error, UnknownStepError)
    assert asked.error.miss is miss
    assert asked.error.message.endswith("(model 'a'): START missing")


def test_a_step_that_gives_another_shape_than_the_next_one_takes_is_that_calls_error() -> None:
    """The next step says what it expected and what it got."""
    stage = Stage(*CHAIN)
    asked = stage.ask(1.0)
    stage.models[0].waiting.pop().finish([np.zeros((1, 2), np.float32)])
    assert isinstance(asked.error, InvalidArgumentError)
    assert "step 2 (model 'b'): " in asked.error.message
    assert "Expected [-1,1], got [1,2]" in asked.error.message


def test_a_step_that_gives_another_datatype_is_an_engines_error() -> None:
    """Its bytes are not taken for something else."""
    stage = Stage(*CHAIN)
    asked = stage.ask(1.0)
    stage.models[0].waiting.pop().finish([np.zeros((1, 1), np.float64)])
    assert isinstance(asked.error, EngineError)
    assert "gave float64 where FP32 is declared" in asked.error.message


def test_a_client_that_leaves_leaves_every_queue() -> None:
    """Its steps are cancelled, and it is counted once."""
    stage = Stage(*FORK)
    gone = stage.ask(1.0)
    stage.intake.cancel(gone)
    assert not any(model.waiting for model in stage.models)
    assert gone.answer_count == 0
    assert stage.counted().failures[FailureReason.CANCELED] == 1


def test_statistics_are_composed_of_the_steps() -> None:
    """One execution a call; its parts are the sums over its steps."""
    stage = Stage(*CHAIN)
    stage.ask(1.0, 2.0)
    for model in stage.models:
        model.answer()
    found = stage.counted()
    assert (found.success.count, found.inference_count, found.execution_count) == (1, 2, 1)
    parts = (found.queue, found.compute_input, found.compute_infer, found.compute_output)
    assert [part.ns for part in parts] == [2, 4, 6, 8]
    assert [(batch.batch_rows, batch.compute_infer_ns) for batch in found.batches] == [(2, 6)]


def test_a_long_chain_of_kept_answers_needs_no_deep_stack() -> None:
    """A thousand cached steps answer at once, one after the other."""
    names = ["x", *(f"t{n}" for n in range(999)), "y"]
    stage = Stage(
        *(step("m", {"i0": names[n]}, {"o": names[n + 1]}) for n in range(1000)), cached=True
    )
    first = stage.ask(1.0)
    for model in stage.models:
        model.answer()
    second = stage.ask(1.0)
    assert second.result == first.result == [1001.0]


def test_steps_of_several_calls_share_a_batch() -> None:
    """A step waits in its model's own queue, beside the calls of the model itself."""
    bench = Bench()
    stage = Stage(step("a", {"i0": "x"}, {"o": "y"}))
    outer = EnsembleIntake(
        stage.intake.plan,
        [
            BoundStep(
                plan=one.plan,
                intake=bench.batcher,
                served=one.served,
                checks=one.checks,
                default_timeout_ns=0,
            )
            for one in stage.intake.steps
        ],
        statistics=stage.statistics,
        loop=bench.loop,  # type: ignore[arg-type]  its parts that are used
        now_ns=bench.loop.clock,
    )
    asked = [HeldCall(1.0), HeldCall(2.0)]
    for call in asked:
        outer.submit(call)
    bench.submit(HeldCall(3.0, key=((1,),)))
    bench.finish_all()
    assert bench.model.batches == [[1.0, 2.0, 3.0]]
    assert [call.result for call in asked] == [[2.0], [4.0]]
    found = stage.counted()
    assert 0 < found.compute_infer.ns < found.success.ns


def test_idle_waits_for_the_last_step() -> None:
    """An ensemble is unloaded when its last call is answered."""

    async def scenario() -> HeldCall:
        stage = Stage(*CHAIN)
        asked = stage.ask(1.0)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(stage.intake.idle())
            await asyncio.sleep(0)
            stage.models[0].answer()
            await asyncio.sleep(0)
            assert not waiting.done()
            stage.models[1].answer()
        return asked

    assert asyncio.run(scenario()).result == [3.0]


@st.composite
def graphs(draw: st.DrawFn) -> list[EnsembleStep]:
    """A graph whose last step is the output."""
    count = draw(st.integers(1, 6))
    steps = []
    for number in range(count):
        names = ["x", *(f"t{n}" for n in range(number))]
        read = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        inputs = {f"i{n}": name for n, name in enumerate(read)}
        steps.append(step(f"m{number}", inputs, {"o": f"t{number}"}))
    return steps


def expected(steps: list[EnsembleStep], value: float) -> float:
    """Compute what the last step gives."""
    known = {"x": value}
    for one in steps:
        known[one.outputs[0].shared] = 1 + sum(known[link.shared] for link in one.inputs)
    return known[steps[-1].outputs[0].shared]


@given(graphs(), st.lists(st.integers(-9, 9), min_size=1, max_size=4), st.data())
def test_every_call_gets_what_its_own_inputs_give(
    steps: list[EnsembleStep], values: list[int], data: st.DataObject
) -> None:
    """Whatever the graph, and in whatever order models answer whose calls."""
    stage = Stage(*steps, output=steps[-1].outputs[0].shared)
    asked = [stage.ask(float(value)) for value in values]
    while busy := [model for model in stage.models if model.waiting]:
        model = data.draw(st.sampled_from(busy))
        model.answer(data.draw(st.integers(0, len(model.waiting) - 1)))
    assert [call.result for call in asked] == [[expected(steps, value)] for value in values]
    assert stage.counted().success.count == len(values)
