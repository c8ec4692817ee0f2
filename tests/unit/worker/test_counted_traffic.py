"""What a batcher's calls leave in the counters that guardrails read."""

from collections.abc import Sequence
from typing import Any

import pytest

from runtimes.errors import BasculeError, EngineError, InvalidArgumentError
from serving.errors import QueueFullError
from serving.ids import VersionKey
from serving.monitor.output_bins import output_bin
from serving.monitor.traffic import TrafficDelta, latency_bucket
from tests.fakes.batching import Bench, HeldCall


class UnsentCall(HeldCall):
    """A call whose result cannot be written."""

    def __init__(self, told: BasculeError | None) -> None:
        super().__init__(1.0)
        self.told = told

    def finish(self, outputs: Sequence[Any]) -> bool:
        """Refuse the result."""
        assert len(outputs) == 1
        return False

    def refusal(self) -> BasculeError | None:
        """Say why."""
        return self.told


def counted(bench: Bench) -> TrafficDelta:
    """What guardrails see."""
    return bench.statistics.traffic.counters(VersionKey("m", 1), bench.loop.now_ns).counted


def test_each_call_counts_from_its_receipt() -> None:
    """Two calls of one batch, one of which waited longer, are in different buckets."""
    bench = Bench()
    bench.submit(HeldCall(1.0))
    bench.loop.turn()
    bench.submit(HeldCall(2.0))
    bench.loop.now_ns += 64_000_000
    bench.submit(HeldCall(3.0))
    bench.finish_all()

    found = counted(bench)

    assert found.answered_count == 3
    assert found.fault_count == 0
    slow = sum(
        n for bucket, n in found.latency_counts.items() if bucket >= latency_bucket(64 * 10**6)
    )
    assert 0 < slow < 3


def test_a_failing_run_is_a_fault_of_its_culprit_only() -> None:
    """The batch-mates are answered."""
    bench = Bench()
    bench.submit(HeldCall(1.0), HeldCall(-1.0))
    bench.finish_all()

    assert (counted(bench).answered_count, counted(bench).fault_count) == (1, 1)


def test_a_full_queue_is_a_fault() -> None:
    """A version that cannot keep up fails calls that the other one may not."""
    bench = Bench(max_queue_rows=1)
    bench.submit(HeldCall(1.0))
    with pytest.raises(QueueFullError):
        bench.submit(HeldCall(2.0))

    assert counted(bench).fault_count == 1


@pytest.mark.parametrize(
    ("told", "fault_count"), [(InvalidArgumentError("x"), 0), (EngineError("x"), 1), (None, 1)]
)
def test_a_result_that_cannot_be_sent_is_a_fault_unless_the_caller_asked_wrongly(
    told: BasculeError | None, fault_count: int
) -> None:
    """Such as a region of memory that is too small for the outputs."""
    bench = Bench()
    bench.submit(UnsentCall(told))
    bench.finish_all()

    assert (counted(bench).answered_count, counted(bench).fault_count) == (0, fault_count)


def test_one_row_of_a_batch_is_looked_at() -> None:
    """If somebody asked for outputs."""
    bench = Bench()
    bench.statistics.traffic.watch_outputs(["y"], has_rows=True)
    bench.submit(HeldCall(3.0, 4.0), HeldCall(5.0))
    bench.finish_all()

    assert counted(bench).outputs == {"y": {output_bin(6.0): 1}}
