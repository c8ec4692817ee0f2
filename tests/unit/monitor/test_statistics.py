"""Statistics of one worker, and their sum over workers."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.errors import QueueFullError
from serving.ids import VersionKey
from serving.monitor.exposition import version_samples
from serving.monitor.statistics import (
    FailureReason,
    VersionStatistics,
    merge_by_gpu,
    merge_statistics,
)
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.monitor.triton_statistics import triton_statistics

EVENTS = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 3)), max_size=20)


def recorded(events: list[tuple[int, int]], *, number: int = 1) -> VersionStatistics:
    """Count executions of (rows of a call, calls), each phase 10 ns, each wait 5 ns."""
    recorder = StatisticsRecorder(VersionKey("m", number))
    now_ns = 1_000
    for rows, call_count in events:
        phases_ns = (now_ns + 5, now_ns + 15, now_ns + 25, now_ns + 35)
        recorder.count_execution(rows * call_count, phases_ns)
        recorder.count_successes(call_count, rows * call_count, call_count * now_ns, phases_ns)
        recorder.count_failure(FailureReason.REJECTED, 7)
        now_ns += 100
    return recorder.snapshot(now_ns=now_ns, now_ms=5_000_000, pending_count=2)


@given(EVENTS)
def test_the_parts_add_up(events: list[tuple[int, int]]) -> None:
    """Executions by size, rows and phases agree with the totals."""
    counted = recorded(events)
    assert sum(batch.execution_count for batch in counted.batches) == counted.execution_count
    assert sum(batch.execution_count * batch.batch_rows for batch in counted.batches) == (
        counted.inference_count
    )
    parts_ns = counted.compute_input.ns + counted.compute_infer.ns + counted.compute_output.ns
    assert counted.queue.ns + parts_ns == counted.success.ns
    assert counted.fail.count == counted.failures[FailureReason.REJECTED] == len(events)


@given(EVENTS, EVENTS, EVENTS)
def test_the_sum_over_workers_does_not_depend_on_the_order(
    one: list[tuple[int, int]], two: list[tuple[int, int]], three: list[tuple[int, int]]
) -> None:
    """Merging is associative and commutative."""
    a, b, c = recorded(one), recorded(two), recorded(three)
    assert merge_statistics([a, b, c]) == merge_statistics([*merge_statistics([c, b]), a])


def test_versions_are_kept_apart() -> None:
    """Only equal versions are summed; the list is in order."""
    merged = merge_statistics([recorded([(1, 1)], number=2), recorded([(1, 1)], number=1)])
    assert [part.version for part in merged] == [1, 2]


def test_an_idle_version_has_every_reason_and_no_last_inference() -> None:
    """All series exist from the load on, with 0."""
    counted = recorded([])
    assert set(counted.failures) == set(FailureReason)
    assert counted.last_inference_ms == 0


def test_tritons_form_has_every_key() -> None:
    """Load generators abort on a missing key."""
    entry = triton_statistics(recorded([(2, 1)]))
    inference = entry["inference_stats"]
    assert isinstance(inference, dict)
    assert set(inference) == {
        "success", "fail", "queue", "compute_input", "compute_infer", "compute_output",
        "cache_hit", "cache_miss",
    }  # fmt: skip
    assert entry["batch_stats"] == [
        {
            "batch_size": 2,
            "compute_input": {"count": 1, "ns": 10},
            "compute_infer": {"count": 1, "ns": 10},
            "compute_output": {"count": 1, "ns": 10},
        }
    ]


def test_gpus_are_kept_apart_where_that_is_asked_for() -> None:
    """Two workers on one GPU are one series, another GPU's is another; the version is one sum."""
    one, other = recorded([(1, 1)]), recorded([(2, 1)])
    parts = [
        replace(one, gpu_uuid="GPU-b"),
        replace(other, gpu_uuid="GPU-a"),
        replace(one, gpu_uuid="GPU-b"),
    ]

    apart = merge_by_gpu(parts)

    assert [part.gpu_uuid for part in apart] == ["GPU-a", "GPU-b"]
    assert apart[1].execution_count == 2 * one.execution_count
    (together,) = merge_statistics(parts)
    assert together.gpu_uuid == ""
    assert together == merge_statistics([*apart])[0] == merge_statistics([one, other, one])[0]


def test_a_fault_is_a_failure_that_a_client_can_blame_on_us() -> None:
    """Not its own mistake, not its leaving, and no copy: budgets of errors are counted by it."""
    recorder = StatisticsRecorder(VersionKey("m", 1))
    mistake = InvalidArgumentError("index out of bounds")
    recorder.count_failure(FailureReason.BACKEND, 7, mistake)
    recorder.count_failure(FailureReason.CANCELED, 7)
    recorder.count_failure(FailureReason.BACKEND, 7, is_copy=True)
    recorder.count_failure(FailureReason.BACKEND, 7)
    recorder.count_failure(FailureReason.REJECTED, 7, QueueFullError("queue full"))
    counted = recorder.snapshot(now_ns=0, now_ms=0, pending_count=0)
    (both,) = merge_statistics([counted, counted])
    shown = {
        (sample.metric.name, *sample.labels): sample.value for sample in version_samples([both], {})
    }

    assert (counted.fail.count, counted.fault_count) == (5, 2)
    assert shown["bascule_request_faults_total", "m", "1"] == 4
