"""Histograms of what the stages of calls took."""

from bisect import bisect_left

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from serving.ids import VersionKey
from serving.monitor.stages import (
    COPY,
    EDGES_S,
    GRPC,
    HTTP,
    STAGES,
    TRANSPORTS,
    StageTimes,
    merged_stages,
)
from serving.monitor.statistics import VersionStatistics, merge_statistics
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.monitor.traffic_recorder import FLUSH_BATCHES, TrafficRecorder

KEY = VersionKey("m", 1)
EDGES_NS = [round(edge * 1e9) for edge in EDGES_S]
STEPS = st.lists(st.integers(0, 2 * 10**10), min_size=4, max_size=4)
WAITS = st.lists(
    st.tuples(st.integers(0, 2 * 10**10), st.sampled_from([HTTP, GRPC, COPY])), max_size=4
)


def found(recorder: TrafficRecorder) -> dict[tuple[str, str], StageTimes]:
    """Return the histograms by transport and stage."""
    return {(each.transport, each.stage): each for each in recorder.counted_stages()}


@given(st.lists(st.tuples(WAITS, STEPS), max_size=6))
def test_every_stage_of_every_call_is_in_its_bucket(
    batches: list[tuple[list[tuple[int, int]], list[int]]],
) -> None:
    """An edge belongs to the bucket below it; a call is charged its batch's stages."""
    recorder = TrafficRecorder()
    wanted: dict[tuple[str, str], list[int]] = {}
    for calls, steps in batches:
        moments = (10**12, *(10**12 + sum(steps[:end]) for end in (1, 2, 3)))
        recorder.count_answered(
            [10**12 - wait for wait, _ in calls],
            bytes(way for _, way in calls),
            (moments[0], moments[1], moments[2], moments[3]),
        )
        for wait, way in calls:
            taken = (wait + sum(steps[:3]), wait, *steps[:3])
            for stage, duration in zip(STAGES, taken, strict=True):
                wanted.setdefault((TRANSPORTS[way], stage), []).append(duration)

    counted = found(recorder)

    assert counted.keys() == wanted.keys()
    for place, durations in wanted.items():
        assert counted[place].sum_ns == sum(durations)
        for bucket, count in enumerate(counted[place].counts):
            assert count == sum(bisect_left(EDGES_NS, each) == bucket for each in durations)


def test_what_waits_to_be_sorted_is_counted() -> None:
    """Reading sorts what is left over from the last time."""
    recorder = TrafficRecorder()
    for _ in range(FLUSH_BATCHES + 3):
        recorder.count_answered([0, 0], bytes([HTTP, GRPC]), (1, 2, 3, 4))

    assert sum(found(recorder)["http", "request"].counts) == FLUSH_BATCHES + 3
    assert sum(found(recorder)["grpc", "encode"].counts) == FLUSH_BATCHES + 3


def test_copies_are_no_clients_calls() -> None:
    """Guardrails do not see them, and histograms name them."""
    recorder = TrafficRecorder()
    recorder.count_answered([0, 0], bytes([HTTP, COPY]), (1, 2, 3, 4))
    recorder.count_alone(COPY, 10)

    assert recorder.counters(KEY, 0).counted.answered_count == 1
    assert sum(found(recorder)["copy", "request"].counts) == 2


def test_a_kept_answer_has_a_request_and_no_stages() -> None:
    """Nothing waited and nothing ran for it."""
    statistics = StatisticsRecorder(KEY)
    statistics.count_hit(1_000, 200_000, GRPC)

    assert [(each.transport, each.stage) for each in statistics.traffic.counted_stages()] == [
        ("grpc", "request")
    ]


def test_histograms_of_workers_add_up_and_travel() -> None:
    """Those of one kind are added, others stand beside each other; JSON keeps them."""
    one, other = TrafficRecorder(), TrafficRecorder()
    one.count_answered([0], bytes([HTTP]), (1, 2, 3, 300_000))
    other.count_answered([0, 0], bytes([HTTP, GRPC]), (1, 2, 3, 400_000))
    parts = [
        VersionStatistics(model="m", version=1, failures={}, stages=recorder.counted_stages())
        for recorder in (one, other)
    ]

    (merged,) = merge_statistics(
        msgspec.convert(msgspec.to_builtins(parts), list[VersionStatistics])
    )

    by_place = {(each.transport, each.stage): each for each in merged.stages}
    assert by_place["http", "request"].sum_ns == 700_000
    assert sum(by_place["http", "request"].counts) == 2
    assert sum(by_place["grpc", "request"].counts) == 1
    assert merged_stages(merged.stages, ()) == merged.stages
