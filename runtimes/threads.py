"""How many CPUs this process may use, and how many engine threads a replica gets of them.

A container's CPU limit shows in the cgroup's quota, not in `os.cpu_count()`: 64 threads on a quota
of 2 CPUs are throttled for most of each period, and every call waits.
"""

import math
import os
from pathlib import Path
from typing import Final

from runtimes.kernel_files import text_of

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
PROCESS_CGROUP: Final = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """Return the CPUs that this process may use, at least 1: its affinity, cut by its quotas."""
    own = text_of(PROCESS_CGROUP)
    quotas = [quota for folder in cgroup_folders(own) if (quota := _quota(folder)) is not None]
    return cpus_of(len(os.sched_getaffinity(0)), quotas)


def cpus_of(affinity_count: int, quotas: list[float]) -> int:
    """Return the CPUs that an affinity mask and quotas leave: the tightest, rounded up, >= 1."""
    return max(1, math.ceil(min([float(affinity_count), *quotas])))


def threads_for(cpus: int, replicas_on_node: int) -> int:
    """Return the engine threads of one replica, at least 1.

    One CPU stays free for the event loops and HAProxy: an engine that occupies every CPU stalls on
    its own barrier whenever another process runs (on 2 cores, torch with 2 threads beside busy
    neighbours was 20 to 70 times slower than with 1).
    """
    return max(1, (cpus - 1) // max(1, replicas_on_node))


def cgroup_folders(own: str, controller: str = "cpu") -> list[str]:
    """Return the cgroup folders whose limits bind this process, relative to the cgroup root.

    Args:
        own: The text of /proc/self/cgroup: lines of `hierarchy:controllers:path`.
        controller: What is limited: `cpu` or `memory`.
    """
    folders = [""]
    for line in own.splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = f"{controllers}/" if controllers else ""
        parts = [part for part in path.split("/") if part]
        folders += [top + "/".join(parts[:end]) for end in range(len(parts) + 1)]
    return [controller, *folders]


def quota_of(cpu_max: str, cfs_quota: str, cfs_period: str) -> float | None:
    """Return a quota in CPUs, or None where there is no limit.

    Args:
        cpu_max: Text of `cpu.max` (cgroup v2): `max 100000` or `150000 100000`.
        cfs_quota: Text of `cpu.cfs_quota_us` (v1): microseconds a period, -1 for no limit.
        cfs_period: Text of `cpu.cfs_period_us` (v1).
    """
    quota, _, period = (cpu_max.strip() or f"{cfs_quota.strip()} {cfs_period.strip()}").partition(
        " "
    )
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0 or int(quota) == 0:
        return None
    return int(quota) / int(period)


def _quota(folder: str) -> float | None:
    place = CGROUP_ROOT / folder
    return quota_of(
        text_of(place / "cpu.max"),
        text_of(place / "cpu.cfs_quota_us"),
        text_of(place / "cpu.cfs_period_us"),
    )
