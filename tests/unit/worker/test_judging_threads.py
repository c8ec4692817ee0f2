"""Where data contracts are judged: what is large, and what a thread made, is not on the loop."""

import asyncio
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from runtimes.contract import Array
from runtimes.errors import BasculeError, EngineError, InvalidArgumentError
from serving.ids import VersionKey
from serving.monitor.quality.judge import Judge
from serving.monitor.quality.recorder import QualityRecorder
from serving.monitor.quality.verdict import Verdict
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.version import VersionSpec
from serving.wire.call import CallSpec, InferCall
from serving.wire.input_checks import InputChecks
from serving.wire.tensors import Buffer
from serving.worker.ensemble_flow import BoundStep
from serving.worker.ensemble_intake import EnsembleIntake
from serving.worker.ensemble_plan import plan_ensemble
from serving.worker.exchange import Desk, Exchange
from serving.worker.executor import Ran, VersionRunner
from serving.worker.handover import Handover
from serving.worker.loaded import LoadedVersion
from serving.worker.quality_gate import MAX_JUDGED_INLINE_BYTES, QualityGate, look_of
from serving.worker.queued import QueuedCall
from serving.worker.recorder import FIRST_THREAD_SLOT, FlightRecorder
from serving.worker.response_cache import CacheKey, ResponseCache
from serving.worker.stacking import Stacker
from serving.worker.targets import Targets
from tests.fakes.batching import DoublingModel, HeldCall, X, Y
from tests.fakes.ensembles import SumIntake, served, step

KEY = VersionKey("m", 1)
CONTRACT = parse_contract(b"""
contract: 1
inputs: {x: {max: 100, on_violation: reject}}
outputs: {y: {max: 100, on_violation: reject}}
""")
LARGE = MAX_JUDGED_INLINE_BYTES // 4 + 1
"""Rows of an FP32 that are judged in a thread."""


class NotedJudge(Judge):
    """A judge that notes in which thread it was asked."""

    def __init__(self) -> None:
        super().__init__(CONTRACT, [X], [Y], is_batched=True)
        self.input_threads: list[int] = []
        self.output_threads: list[int] = []

    def judge_inputs(
        self,
        arrays: Sequence[Array | None],
        rows: int,
        parameters: Mapping[str, object] | None,
        now_s: float,
    ) -> Verdict | None:
        """Note it."""
        self.input_threads.append(threading.get_ident())
        return super().judge_inputs(arrays, rows, parameters, now_s)

    def judge_outputs(self, arrays: Sequence[Array], rows: int) -> Verdict | None:
        """Note it."""
        self.output_threads.append(threading.get_ident())
        return super().judge_outputs(arrays, rows)


class Line:
    """A connection without a client."""

    def flush(self) -> None:
        """Nothing is written."""


class MadeExchange(Exchange):
    """An exchange whose call was decoded already."""

    def __init__(self, desk: Desk, made: InferCall, model: str) -> None:
        super().__init__(desk, Line(), {}, keep_alive=True)
        self.made = made
        target = desk.targets.find(f"/v2/models/{model}/infer".encode())
        assert target is not None
        self.target = target
        self.ended = asyncio.Event()
        self.error: BasculeError | None = None

    @property
    def request_target(self) -> bytes:
        """Where it went."""
        return b"/v2/models/m/infer"

    def _read_headers(self) -> int:
        return 0

    def _is_packed(self, body: Buffer) -> bool:  # noqa: ARG002  the port's
        return False

    def _unpacked(self, body: Buffer) -> Buffer:
        return body

    def _decode(self, body: Buffer) -> InferCall:  # noqa: ARG002  the port's
        self._choose(self.target)
        return self.made

    def _encode(self, outputs: Sequence[Array]) -> None:  # noqa: ARG002  the port's
        self._send((b"",))

    def _failure(self, error: BasculeError) -> bytes:
        self.error = error
        return b""

    def _send(self, reply: Sequence[Buffer]) -> None:
        super()._send(reply)
        self.ended.set()


class Waiting(SumIntake):
    """Answers each call with its own values, as soon as it comes."""

    def submit(self, item: QueuedCall) -> None:
        """Answer."""
        (raw,) = item.call.tensors
        item.finish([np.frombuffer(raw, np.float32).reshape(-1, 1)])


def call_of(values: Array, *, region_bytes: int = 0) -> InferCall:
    """A decoded call."""
    return InferCall(
        id="",
        rows=len(values),
        shapes=((len(values), 1),),
        stack_key="key",
        tensors=(values.astype(np.float32).tobytes(),),
        outputs=(),
        region_bytes=region_bytes,
    )


def gate_of(judge: Judge) -> QualityGate:
    """A gate."""
    return QualityGate(KEY, judge, QualityRecorder(CONTRACT), [X], lambda: 1.0)


async def asked(judge: Judge, made: InferCall) -> MadeExchange:
    """Have a call answered whose body is small."""
    loop, targets = asyncio.get_running_loop(), Targets()
    absent: dict[str, object] = dict.fromkeys(("model", "json_codec", "proto_codec"))
    spec = VersionSpec(
        model="m", version=1, file="", format="", size_bytes=0, digest="d", origin=""
    )
    parts = {
        "batcher": Waiting(),
        "statistics": StatisticsRecorder(KEY),
        "default_timeout_ns": 0,
        "quality": gate_of(judge),
    }
    hosted = LoadedVersion(spec=spec, served=served([X], [Y]), **parts, **absent)  # type: ignore[arg-type]
    targets.put(hosted)
    desk = Desk(
        targets,
        handover=Handover("w", loop, lambda: 1),
        loop=loop,
        now_ns=lambda: 1,
        max_body_bytes=1 << 30,
    )
    exchange = MadeExchange(desk, made, "m")
    exchange.open_body()
    exchange.start()
    await asyncio.wait_for(exchange.ended.wait(), 90)
    return exchange


@pytest.mark.parametrize("value", [1.0, 101.0])
def test_a_request_in_shared_memory_counts_as_what_it_has_there(value: float) -> None:
    """However small its body is, a thread judges it; its answer, or its refusal, is the same."""
    judge = NotedJudge()
    values = np.full((LARGE, 1), value)

    found = asyncio.run(asked(judge, call_of(values, region_bytes=values.size * 4)))

    assert len(judge.input_threads) == 1
    assert threading.get_ident() not in judge.input_threads
    assert isinstance(found.error, InvalidArgumentError) is (value > 100)


def test_a_small_request_pays_for_no_thread() -> None:
    """It is judged where it is decoded."""
    judge = NotedJudge()

    asyncio.run(asked(judge, call_of(np.ones((2, 1)))))

    assert judge.input_threads == judge.output_threads == [threading.get_ident()]


@pytest.mark.parametrize("value", [1.0, 51.0])
def test_an_answer_is_judged_where_it_was_made(value: float) -> None:
    """With the run that made it, once; each call of the batch by itself."""
    judge = NotedJudge()
    gate = gate_of(judge)
    clock = iter(range(1000)).__next__
    runner = VersionRunner(
        DoublingModel(),
        Stacker((X,), (Y,), max_batch_rows=8),
        FlightRecorder(None).note(KEY),
        clock,
        look_of(gate),
    )
    batch = [HeldCall(1.0, 2.0), HeldCall(value)]

    def run() -> None:
        ran.extend(runner.run(batch, 3, FIRST_THREAD_SLOT))

    ran: list[Ran] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    (part,) = ran
    assert part.look_ns > 0
    first, second = part.outputs
    gate.pass_on(batch[0].call, first)
    if value > 50:
        with pytest.raises(EngineError, match="output 'y' row 0 is above the maximum 100"):
            gate.pass_on(batch[1].call, second)
    else:
        gate.pass_on(batch[1].call, second)
    assert len(judge.output_threads) == 2
    assert threading.get_ident() not in judge.output_threads
    assert gate.report().withheld_answer_count == int(value > 50)


def test_an_answer_that_is_kept_is_not_judged_again() -> None:
    """What was said of it is kept with it, and is said to each caller."""
    judge, cache, key = NotedJudge(), ResponseCache(1 << 20), CacheKey(1, b"digest")
    gate = gate_of(judge)
    cache.put(key, gate.look(1, [np.full((1, 1), 101, np.float32)]))
    kept = cache.get(key)

    assert kept is not None
    for _ in range(2):
        with pytest.raises(EngineError, match="output 'y' row 0 is above the maximum 100"):
            gate.pass_on(HeldCall(1.0).call, kept)
    assert len(judge.output_threads) == 1


def test_nobody_looks_where_nothing_is_asked_of_answers() -> None:
    """Neither without a contract, nor with one that is about inputs."""
    inputs_only = parse_contract(b"contract: 1\ninputs: {x: {max: 1, on_violation: reject}}\n")

    assert look_of(None) is None
    assert look_of(gate_of(Judge(inputs_only, [X], [Y], is_batched=True))) is None


class AwaitedCall(HeldCall):
    """A call of an ensemble that somebody waits for."""

    def __init__(self, *values: float) -> None:
        super().__init__(*values)
        self.ended = asyncio.Event()
        self.outputs: Sequence[Array] = ()

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Keep the outputs."""
        self.outputs = outputs
        self.ended.set()
        return super().finish(outputs)


async def composed(judge: Judge, asked_call: AwaitedCall, *, is_cancelled: bool = False) -> None:
    """Have an ensemble of one step answer a call."""
    model, one = SumIntake(), step("a", {"x": "x"}, {"y": "y"})
    member = served([X], [Y], max_batch_rows=LARGE)
    plan = plan_ensemble(member, [one], [member])
    checks = InputChecks(
        CallSpec(model="a", version=1, inputs=(X,), outputs=(Y,), max_batch_rows=LARGE)
    )
    (planned,) = plan.steps
    bound = BoundStep(
        plan=planned, intake=model, served=member, checks=checks, default_timeout_ns=0
    )
    intake = EnsembleIntake(
        plan,
        [bound],
        statistics=StatisticsRecorder(KEY),
        loop=asyncio.get_running_loop(),
        now_ns=lambda: 1,
        look=look_of(gate_of(judge)),
    )
    intake.submit(asked_call)
    model.answer()
    if is_cancelled:
        intake.cancel(asked_call)
        await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), 90)
    else:
        await asyncio.wait_for(asked_call.ended.wait(), 90)
    await asyncio.wait_for(intake.idle(), 90)


def test_a_large_answer_of_an_ensemble_is_judged_in_a_thread() -> None:
    """Once; a small one where it is put together, when it is passed on."""
    judge = NotedJudge()
    large, small = AwaitedCall(*[1.0] * LARGE), AwaitedCall(1.0)

    asyncio.run(composed(judge, large))
    asyncio.run(composed(judge, small))

    assert len(judge.output_threads) == 1
    for each in (large, small):
        gate_of(judge).pass_on(each.call, each.outputs)
    assert judge.output_threads[1:] == [threading.get_ident()]
    assert threading.get_ident() != judge.output_threads[0]


def test_a_call_that_is_left_while_its_answer_is_judged_is_not_answered() -> None:
    """And the ensemble is idle afterwards."""
    left = AwaitedCall(*[1.0] * LARGE)

    asyncio.run(composed(NotedJudge(), left, is_cancelled=True))

    assert left.answer_count == 0
