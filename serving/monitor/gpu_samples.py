"""Pure: what GPUs say → metric samples; what one does not say has no sample."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from runtimes.gpu_reading import GpuReading
from serving.monitor import catalogue, node_catalogue
from serving.monitor.environment.records import GpuError
from serving.monitor.exposition import Sample
from serving.monitor.metric_spec import MetricSpec

OTHER: Final = "other"
"""Stands for processes that are no workers of ours."""


def gpu_samples(readings: Iterable[GpuReading], workers: Mapping[int, str]) -> Iterator[Sample]:
    """Give the samples of a node's GPUs.

    Args:
        readings: One of each.
        workers: Process id → worker, of this node.
    """
    for one in readings:
        for metric, value in _plain(one):
            if value is not None:
                yield Sample(metric, value, (one.uuid,))
        for metric, label, value in _labelled(one, workers):
            if value is not None:
                yield Sample(metric, value, (one.uuid, label))


def xid_samples(errors: Iterable[GpuError]) -> Iterator[Sample]:
    """Give the samples of errors; several supervisors of a node may have heard the same."""
    counts: dict[tuple[str, str], int] = {}
    for one in errors:
        labels = (one.uuid, str(one.xid))
        counts[labels] = max(counts.get(labels, 0), one.count)
    for labels, count in counts.items():
        yield Sample(node_catalogue.GPU_XIDS, count, labels)


def _plain(one: GpuReading) -> tuple[tuple[MetricSpec, float | None], ...]:
    return (
        (catalogue.GPU_UTILIZATION, one.utilization_ratio),
        (catalogue.GPU_MEMORY_TOTAL, one.memory_total_bytes),
        (catalogue.GPU_MEMORY_USED, one.memory_used_bytes),
        (catalogue.GPU_POWER_USAGE, one.power_w),
        (catalogue.GPU_POWER_LIMIT, one.power_limit_w),
        (catalogue.GPU_ENERGY, one.energy_j),
        (node_catalogue.GPU_MEMORY_BUSY, one.memory_busy_ratio),
        (node_catalogue.GPU_TEMPERATURE, one.temperature_c),
    )


def _labelled(
    one: GpuReading, workers: Mapping[int, str]
) -> Iterator[tuple[MetricSpec, str, float | None]]:
    for name, clock_hz in one.clocks_hz:
        yield node_catalogue.GPU_CLOCK, name, clock_hz
    for name, clock_hz in one.max_clocks_hz:
        yield node_catalogue.GPU_MAX_CLOCK, name, clock_hz
    for reason in sorted(one.throttle_reasons or ()):
        yield node_catalogue.GPU_THROTTLED, reason, 1
    yield node_catalogue.GPU_ECC, "corrected", one.corrected_errors
    yield node_catalogue.GPU_ECC, "uncorrected", one.uncorrected_errors
    for owner, held_bytes in _held(one, workers).items():
        yield node_catalogue.GPU_PROCESS_MEMORY, owner, held_bytes


def _held(one: GpuReading, workers: Mapping[int, str]) -> Mapping[str, int]:
    held = Counter[str]()
    for process in one.processes:
        held[workers.get(process.pid, OTHER)] += process.memory_bytes
    return held
