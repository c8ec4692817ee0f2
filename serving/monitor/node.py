"""What this node's CPUs, memory and GPUs say, as metric samples.

Every function blocks for milliseconds: call it in a thread.
"""

import os
from collections.abc import Callable, Iterator
from typing import Final

import psutil
import pynvml

from runtimes.node_load import read_load
from serving.monitor import catalogue, node_catalogue
from serving.monitor.exposition import Sample
from serving.monitor.metric_spec import MetricSpec

US_PER_S: Final = 1e6
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
MILLI: Final = 1_000
PERCENT: Final = 100


def cpu_samples() -> Iterator[Sample]:
    """Give use of CPUs (since the last call) and of memory; no pool of pinned memory is kept."""
    memory = psutil.virtual_memory()
    yield Sample(catalogue.CPU_UTILIZATION, psutil.cpu_percent() / PERCENT)
    yield Sample(catalogue.CPU_MEMORY_TOTAL, memory.total)
    yield Sample(catalogue.CPU_MEMORY_USED, memory.total - memory.available)
    yield Sample(catalogue.PINNED_TOTAL, 0)
    yield Sample(catalogue.PINNED_USED, 0)


def load_samples() -> Iterator[Sample]:
    """Give what the kernel counts of stalls, stolen time and throttling; what it does not, not."""
    counted = read_load()
    for resource, stalled_us in counted.stalled_us.items():
        yield Sample(node_catalogue.STALLED, stalled_us / US_PER_S, (resource,))
    found = (
        (node_catalogue.STOLEN, counted.steal_ticks, TICKS_PER_S),
        (node_catalogue.THROTTLED, counted.throttled_periods, 1),
        (node_catalogue.THERMAL, counted.thermal_count, 1),
    )
    for metric, count, unit in found:
        if count is not None:
            yield Sample(metric, count / unit)


def gpu_samples() -> list[Sample]:
    """Give use, memory, power and energy of every GPU; nothing where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        count = pynvml.nvmlDeviceGetCount()
        return [sample for index in range(count) for sample in _gpu(index)]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Iterator[Sample]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    labels = (uuid.decode() if isinstance(uuid, bytes) else str(uuid),)
    # What a device does not support (MIG, virtual GPUs) is left out.
    questions: tuple[tuple[MetricSpec, Callable[[], float]], ...] = (
        (
            catalogue.GPU_UTILIZATION,
            lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / PERCENT,
        ),
        (catalogue.GPU_MEMORY_TOTAL, lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        (catalogue.GPU_MEMORY_USED, lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used),
        (catalogue.GPU_POWER_USAGE, lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / MILLI),
        (
            catalogue.GPU_POWER_LIMIT,
            lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / MILLI,
        ),
        (
            catalogue.GPU_ENERGY,
            lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / MILLI,
        ),
    )
    for metric, ask in questions:
        try:
            yield Sample(metric, ask(), labels)
        except pynvml.NVMLError:
            continue
