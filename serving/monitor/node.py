"""What this node's CPUs and memory say, as metric samples.

Every function blocks for milliseconds: call it in a thread.
"""

import os
from collections.abc import Iterator
from typing import Final

import psutil

from runtimes.node_load import read_load
from serving.monitor import catalogue, node_catalogue
from serving.monitor.exposition import Sample

US_PER_S: Final = 1e6
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
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
