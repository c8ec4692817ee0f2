"""Pure: what was counted → Prometheus text (format 0.0.4).

Written by hand because prometheus_client ends every counter's name with `_total`, and Triton's
names have no such end.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from serving.monitor import catalogue
from serving.monitor.log_counts import LogCounts
from serving.monitor.metric_spec import GPU, MetricSpec
from serving.monitor.stages import REQUEST, StageTimes
from serving.monitor.statistics import VersionStatistics

NS_PER_US: Final = 1_000
NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric; `labels` in the order of its specification."""

    metric: MetricSpec
    value: float
    labels: tuple[str, ...] = ()
    gpu_uuid: str = ""
    """Becomes one more label, for what a model did on a GPU."""
    counts: tuple[int, ...] = ()
    """Of a histogram: how many were in each bucket, the one without end among them. Then `value` is
    the sum of what was observed."""


def render(samples: Iterable[Sample]) -> bytes:
    """Write samples, those of one metric together, metrics in the order of their first sample."""
    grouped: dict[str, list[Sample]] = {}
    for sample in samples:
        grouped.setdefault(sample.metric.name, []).append(sample)
    lines = [line for group in grouped.values() for line in _metric(group)]
    return "".join(f"{line}\n" for line in lines).encode()


def version_samples(
    statistics: Sequence[VersionStatistics], load_s: Mapping[tuple[str, int], float]
) -> Iterator[Sample]:
    """Give the `nv_inference_*` samples of merged statistics.

    Args:
        statistics: Sums over workers, one per version and GPU.
        load_s: (model, version) → seconds that loading took.
    """
    for item in statistics:
        labels, gpu = (item.model, str(item.version)), item.gpu_uuid
        for reason, count in item.failures.items():
            yield Sample(catalogue.REQUEST_FAILURE, count, (*labels, reason.value), gpu)
        for metric, value in _counters(item):
            yield Sample(metric, value, labels, gpu)
        if item.has_cache:
            yield from (Sample(name, value, labels, gpu) for name, value in _cache_counters(item))
        yield from _stage_samples(item.stages, labels, gpu)
        if item.log is not None:
            yield from _log_samples(item.log, labels)
    for (model, version), seconds in load_s.items():
        yield Sample(catalogue.LOAD_SECONDS, seconds, (model, str(version)))


def _counters(item: VersionStatistics) -> tuple[tuple[MetricSpec, int], ...]:
    return (
        (catalogue.REQUEST_SUCCESS, item.success.count),
        (catalogue.REQUEST_FAULTS, item.fault_count),
        (catalogue.INFERENCES, item.inference_count),
        (catalogue.EXECUTIONS, item.execution_count),
        (catalogue.PENDING, item.pending_count),
        (catalogue.REQUEST_US, item.success.ns // NS_PER_US),
        (catalogue.QUEUE_US, item.queue.ns // NS_PER_US),
        (catalogue.COMPUTE_INPUT_US, item.compute_input.ns // NS_PER_US),
        (catalogue.COMPUTE_INFER_US, item.compute_infer.ns // NS_PER_US),
        (catalogue.COMPUTE_OUTPUT_US, item.compute_output.ns // NS_PER_US),
    )


def _cache_counters(item: VersionStatistics) -> tuple[tuple[MetricSpec, int], ...]:
    return (
        (catalogue.CACHE_HITS, item.cache_hit.count),
        (catalogue.CACHE_MISSES, item.cache_miss.count),
        (catalogue.CACHE_HIT_US, item.cache_hit.ns // NS_PER_US),
        (catalogue.CACHE_MISS_US, item.cache_miss.ns // NS_PER_US),
    )


def _log_samples(log: LogCounts, labels: tuple[str, str]) -> Iterator[Sample]:
    yield Sample(catalogue.LOGGED, log.written, labels)
    yield Sample(catalogue.LOGGED_BYTES, log.written_bytes, labels)
    for reason, count in log.lost().items():
        yield Sample(catalogue.LOG_LOST, count, (*labels, reason))


def _stage_samples(
    stages: Iterable[StageTimes], labels: tuple[str, str], gpu: str
) -> Iterator[Sample]:
    for each in stages:
        is_whole = each.stage == REQUEST
        metric = catalogue.REQUEST_SECONDS if is_whole else catalogue.STAGE_SECONDS
        more = (each.transport,) if is_whole else (each.transport, each.stage)
        yield Sample(metric, each.sum_ns / NS_PER_S, (*labels, *more), gpu, each.counts)


def _metric(samples: Sequence[Sample]) -> Iterator[str]:
    metric = samples[0].metric
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for sample in samples:
        labels = [*zip(metric.labels, sample.labels, strict=True)]
        if sample.gpu_uuid:
            labels.append((GPU, sample.gpu_uuid))
        if sample.counts:
            yield from _buckets(metric, sample, labels)
        else:
            yield f"{metric.name}{_braces(labels)} {_number(sample.value)}"


def _buckets(
    metric: MetricSpec, sample: Sample, labels: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """Write a histogram: how many were at most as large as each edge, their sum and number."""
    totals = [*accumulate(sample.counts)]
    for edge, total in zip((*metric.edges, math.inf), totals, strict=True):
        end = "+Inf" if math.isinf(edge) else f"{edge:g}"
        yield f"{metric.name}_bucket{_braces([*labels, ('le', end)])} {total}"
    yield f"{metric.name}_sum{_braces(labels)} {_number(sample.value)}"
    yield f"{metric.name}_count{_braces(labels)} {totals[-1]}"


def _braces(labels: Sequence[tuple[str, str]]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if not math.isfinite(value):  # one such must not take all others with it
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
