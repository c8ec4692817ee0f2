"""A worker's counters of one version: latencies by bucket, faults, and outputs if asked."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import BasculeError, EngineError, InvalidArgumentError
from serving.errors import QueueFullError
from serving.ids import VersionKey
from serving.monitor.output_bins import NAN_BIN, output_bin
from serving.monitor.stages import HTTP
from serving.monitor.statistics import FailureReason
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.monitor.traffic import TrafficCounters, latency_bucket
from serving.monitor.traffic_recorder import FLUSH_BATCHES, MAX_UNREAD_ROWS, TrafficRecorder

KEY = VersionKey("m", 1)


@given(st.lists(st.lists(st.integers(0, 10**11), min_size=1, max_size=5), max_size=8))
def test_each_answered_call_is_in_its_bucket(batches: list[list[int]]) -> None:
    """Calls of a batch have waited from their own receipt to the batch's replies."""
    recorder = TrafficRecorder()
    end_ns = 10**12
    for durations in batches:
        came_ns = [end_ns - duration for duration in durations]
        recorder.count_answered(came_ns, bytes(len(durations)), (end_ns,) * 4)

    counted = recorder.counters(KEY, 0).counted

    wanted: dict[int, int] = {}
    for duration in (duration for durations in batches for duration in durations):
        wanted[latency_bucket(duration)] = wanted.get(latency_bucket(duration), 0) + 1
    assert counted.latency_counts == wanted
    assert counted.answered_count == sum(map(len, batches))


def test_many_calls_are_all_counted() -> None:
    """What is sorted at once when there is much of it, and what waits for that, add up."""
    recorder = TrafficRecorder()
    for _ in range(FLUSH_BATCHES + 4):
        recorder.count_answered([0], bytes(1), (1, 2, 3, 5_000))
    recorder.count_alone(HTTP, 5_000)

    assert recorder.counters(KEY, 0).counted.answered_count == FLUSH_BATCHES + 5
    assert recorder.counters(KEY, 0).counted.latency_counts == {
        latency_bucket(5_000): FLUSH_BATCHES + 5
    }


@pytest.mark.parametrize(
    ("reason", "error", "fault_count"),
    [
        (FailureReason.BACKEND, EngineError("x"), 1),
        (FailureReason.BACKEND, InvalidArgumentError("x"), 0),
        (FailureReason.BACKEND, None, 1),
        (FailureReason.REJECTED, QueueFullError("x"), 1),
        (FailureReason.CANCELED, None, 0),
        (FailureReason.OTHER, EngineError("x"), 1),
    ],
)
def test_only_the_servers_faults_count(
    reason: FailureReason, error: BasculeError | None, fault_count: int
) -> None:
    """A caller's mistake, and a caller who left, say nothing of the version."""
    statistics = StatisticsRecorder(KEY)

    statistics.count_failure(reason, 5, error)

    assert statistics.traffic.counters(KEY, 0).counted.fault_count == fault_count


def test_calls_without_a_batch_are_counted() -> None:
    """Kept answers and ensembles' calls are answered calls."""
    statistics = StatisticsRecorder(KEY)

    statistics.count_hit(1_000, 9_000)

    assert statistics.traffic.counters(KEY, 0).counted.answered_count == 1


def test_outputs_are_not_looked_at_unless_asked() -> None:
    """There is no sampler, and nothing to pay for."""
    recorder = TrafficRecorder()

    recorder.sample([np.ones((1, 1))])

    assert recorder.sampler is None
    assert recorder.counters(KEY, 0).counted.outputs == {}


def test_one_row_is_looked_at() -> None:
    """The first one: its value, or mean, largest and its place; what is no number is left out."""
    recorder = TrafficRecorder()
    recorder.watch_outputs(["one", "many", "text"], has_rows=True)

    recorder.sample(
        [
            np.array([[np.nan], [1.0]], np.float32),
            np.array([[1, 6, 2], [0, 0, 0]], np.int64),
            np.array([[b"a"], [b"b"]], object),
            np.ones((2, 4)),
        ]
    )

    assert recorder.counters(KEY, 0).counted.outputs == {
        "one": {NAN_BIN: 1},
        "many mean": {output_bin(3.0): 1},
        "many largest": {output_bin(6.0): 1},
        "many place of largest": {output_bin(1.0): 1},
    }


def test_a_model_without_rows_is_looked_at_whole() -> None:
    """All of its output is one row."""
    recorder = TrafficRecorder()
    recorder.watch_outputs(["y"], has_rows=False)

    recorder.sample([np.array([4.0])])

    assert recorder.counters(KEY, 0).counted.outputs == {"y": {output_bin(4.0): 1}}


def test_looking_ends_when_nobody_reads() -> None:
    """After a bound of rows that nobody has asked for; what was counted stays."""
    recorder = TrafficRecorder()
    recorder.watch_outputs(["y"], has_rows=False)
    outputs = [np.array([4.0])]

    for _ in range(MAX_UNREAD_ROWS):
        recorder.sample(outputs)

    assert recorder.sampler is None
    assert recorder.counters(KEY, 0).counted.outputs == {"y": {output_bin(4.0): MAX_UNREAD_ROWS}}


def test_counters_travel_as_json() -> None:
    """Negative bins, too."""
    recorder = TrafficRecorder(began_ns=5)
    recorder.watch_outputs(["y"], has_rows=False)
    recorder.sample([np.array([-4.0])])
    recorder.count_alone(HTTP, 3_000)

    counters = recorder.counters(KEY, 2_000_000_005)

    assert counters.age_s == 2.0
    assert msgspec.json.decode(msgspec.json.encode(counters), type=TrafficCounters) == counters
