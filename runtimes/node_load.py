"""What the kernel counts of a node's load: stalls, stolen time, throttling. Counters, no verdicts.

Everything is counted since the machine (or the cgroup) started, so two looks give what happened
between them, and whoever misses a look loses nothing. What a kernel does not tell is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from runtimes.kernel_files import text_of
from runtimes.threads import CGROUP_ROOT, PROCESS_CGROUP, cgroup_folders

PRESSURE: Final = Path("/proc/pressure")
STAT: Final = Path("/proc/stat")
CPUS: Final = Path("/sys/devices/system/cpu")
RESOURCES: Final = ("cpu", "memory", "io")
STEAL_FIELD: Final = 7
COUNTED_FIELDS: Final = 8
"""Of /proc/stat: user to steal; a guest's time is in its user's already."""

Read = Callable[[str], str]
"""Returns the text of a file below the cgroup root; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCounters:
    """Counters of one moment."""

    stalled_us: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """For how long some task waited for `cpu`, `memory`, `io` (pressure stall information)."""
    ticks: int | None = None
    """CPU time of all CPUs, idle or not."""
    steal_ticks: int | None = None
    """Of it, what the hypervisor gave to others while we wanted to run."""
    periods: int | None = None
    """Of the cgroup's CPU quota; of the folder that was throttled most."""
    throttled_periods: int | None = None
    thermal_count: int | None = None
    """How often a CPU was slowed down because it was hot."""


def read_load() -> LoadCounters:
    """Read all counters; some 20 small files. Blocking."""
    stalls = {name: stalled_us(text_of(PRESSURE / name)) for name in RESOURCES}
    ticks = ticks_of(text_of(STAT))
    throttling = throttling_of(text_of(PROCESS_CGROUP), lambda name: text_of(CGROUP_ROOT / name))
    return LoadCounters(
        stalled_us={name: value for name, value in stalls.items() if value is not None},
        ticks=None if ticks is None else ticks[0],
        steal_ticks=None if ticks is None else ticks[1],
        periods=None if throttling is None else throttling[0],
        throttled_periods=None if throttling is None else throttling[1],
        thermal_count=_thermal_count(),
    )


def stalled_us(text: str) -> int | None:
    """Return the `total` of the line `some` of a file of /proc/pressure; None: it has none."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["some"] and words[-1].startswith("total="):
            total = words[-1].removeprefix("total=")
            return int(total) if total.isdecimal() else None
    return None


def ticks_of(text: str) -> tuple[int, int] | None:
    """Return all ticks and the stolen ones of /proc/stat; None: they are not told."""
    words = text.partition("\n")[0].split()
    counts = [int(word) for word in words[1:] if word.isdecimal()]
    if words[:1] != ["cpu"] or len(counts) < COUNTED_FIELDS:
        return None
    return sum(counts[:COUNTED_FIELDS]), counts[STEAL_FIELD]


def throttling_of(own: str, read: Read) -> tuple[int, int] | None:
    """Return periods and throttled periods of the quota that bound this process most often.

    Args:
        own: The text of /proc/self/cgroup.
        read: Reads a file below the cgroup root.
    """
    found: tuple[int, int] | None = None
    for folder in cgroup_folders(own):
        lines = (line.partition(" ") for line in read(f"{folder}/cpu.stat").splitlines())
        fields = {name: value for name, _, value in lines}
        periods, throttled = fields.get("nr_periods", ""), fields.get("nr_throttled", "")
        if not (periods.isdecimal() and throttled.isdecimal() and int(periods)):
            continue
        if found is None or int(throttled) > found[1]:
            found = int(periods), int(throttled)
    return found


def _thermal_count() -> int | None:
    texts = [text_of(file) for file in CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    counts = [int(text) for text in texts if text.strip().isdecimal()]
    return sum(counts) if counts else None
