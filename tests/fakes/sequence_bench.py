"""A sequence batcher over a model that sums, with everything around it, all by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import EngineError
from serving.ids import VersionKey
from serving.monitor.statistics import VersionStatistics
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.policies.sequence_policy import SequencePolicy, StateTensor
from serving.wire.call import InferCall
from serving.worker.admission import QueueLimits
from serving.worker.batch_plan import BatchLimits
from serving.worker.batcher import Batcher
from serving.worker.executor import VersionRunner
from serving.worker.handover import Handover
from serving.worker.queued import QueueBytes
from serving.worker.recorder import FlightRecorder
from serving.worker.run_costs import RunCosts
from serving.worker.sequence_batcher import SequenceBatcher, SequenceParts
from serving.worker.sequence_stacking import SequenceStacker
from tests.fakes.batching import NS_PER_S, HandExecutor, HandLoop, HeldCall

KEY = VersionKey("m", 1)
SUM = StateTensor(
    input_name="sum_in",
    output_name="sum_out",
    datatype=Datatype.FP32,
    dims=(1,),
    initial_dims=(1,),
)


def _spec(name: str) -> TensorSpec:
    return TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 1))


class SummingModel:
    """y = sum_in + x; fails on batches that contain -1, and records every batch."""

    inputs = (_spec("x"), _spec("sum_in"))
    outputs = (_spec("y"), _spec("sum_out"))

    def __init__(self) -> None:
        self.batches: list[list[float]] = []

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """Run a batch."""
        x, before = feeds
        self.batches.append(x.ravel().tolist())
        if (x < 0).any():
            raise EngineError("negative")
        return [x + before, x + before]

    def close(self) -> None:
        """Nothing is held."""


class StepCall(HeldCall):
    """A step of a sequence."""

    def __init__(
        self,
        sequence: int | str,
        *values: float,
        start: bool = False,
        end: bool = False,
        deadline_ns: int = 0,
    ) -> None:
        super().__init__(*values, deadline_ns=deadline_ns)
        plain = self.call
        self.call = InferCall(
            id="",
            rows=plain.rows,
            shapes=plain.shapes,
            stack_key=plain.stack_key,
            tensors=plain.tensors,
            outputs=(),
            parameters={
                "sequence_id": sequence,
                "sequence_start": start,
                "sequence_end": end,
            },
        )


class SequenceBench:
    """A sequence batcher, its loop and its model."""

    def __init__(
        self,
        *,
        max_sequences: int = 4,
        idle_s: float = 10.0,
        max_queue_rows: int = 0,
        has_predecessor: bool = False,
        costs: RunCosts | None = None,
    ) -> None:
        self.loop = HandLoop()
        self.executor = HandExecutor()
        self.model = SummingModel()
        self.statistics = StatisticsRecorder(KEY)
        self.queue_bytes = QueueBytes()
        self.handover = Handover("w1", self.loop, self.loop.clock)
        policy = SequencePolicy(max_sequences=max_sequences, idle_s=idle_s, states=(SUM,))
        stacker = SequenceStacker(
            policy,
            self.model,
            self.model.inputs[:1],
            initial=[np.zeros((1, 1), np.float32)],
            max_batch_rows=8,
        )
        limits = QueueLimits(max_rows=max_queue_rows, max_bytes=1 << 30)
        note = FlightRecorder(None).note(KEY)
        batcher = Batcher(
            VersionRunner(self.model, stacker, note, self.loop.clock),
            batch_limits=BatchLimits(max_rows=8),
            queue_limits=limits,
            queue_bytes=self.queue_bytes,
            executor=self.executor,
            statistics=self.statistics,
            costs=costs or RunCosts(),
            loop=self.loop,
            now_ns=self.loop.clock,
        )
        self.batcher = SequenceBatcher(
            SequenceParts(
                model="m",
                version=1,
                policy=policy,
                stacker=stacker,
                batcher=batcher,
                limits=limits,
                queue_bytes=self.queue_bytes,
                statistics=self.statistics,
                loop=self.loop,
                now_ns=self.loop.clock,
                handover=self.handover,
                has_predecessor=has_predecessor,
            )
        )

    def submit(self, *calls: StepCall) -> None:
        """Submit calls in one turn of the loop."""
        for call in calls:
            self.batcher.submit(call)

    def finish_all(self) -> None:
        """Let everything that may run come to its end."""
        self.executor.finish_all(self.loop)

    def deadline_ns(self, after_s: float) -> int:
        """Return a time from now."""
        return self.loop.now_ns + int(after_s * NS_PER_S)

    def counted(self) -> VersionStatistics:
        """Return the statistics."""
        return self.statistics.snapshot(
            now_ns=self.loop.now_ns, now_ms=1_000, pending_count=self.batcher.queued_count
        )
