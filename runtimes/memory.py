"""How much memory this process may use, and how much of it is free.

A container's limit shows in its cgroup, not in the machine's memory; the tightest of the folders
above this process counts. Page cache that the kernel would give up counts as free.
"""

from collections.abc import Callable
from typing import Final

import psutil

from runtimes.kernel_files import text_of
from runtimes.threads import CGROUP_ROOT, PROCESS_CGROUP, cgroup_folders

LIMITS: Final = ("memory.max", "memory.limit_in_bytes")
"""Names of a cgroup's limit in cgroup v2 and v1."""
USAGES: Final = ("memory.current", "memory.usage_in_bytes")

Read = Callable[[str], str]
"""Returns the text of a file below the cgroup root; empty where there is none."""


def usable_memory_bytes() -> int:
    """Return the memory that this process may use: the cgroup's limit, or the machine's."""
    there = psutil.virtual_memory().total
    limit = cgroup_limit_bytes()
    return there if limit is None else min(there, limit)


def free_memory_bytes() -> int:
    """Return the memory that can still be had, within the machine's and the cgroup's limit."""
    free = psutil.virtual_memory().available
    left = [
        limit - used for limit, used in cgroup_memory(text_of(PROCESS_CGROUP), _below_cgroup_root)
    ]
    return max(0, min([free, *left]))


def cgroup_limit_bytes() -> int | None:
    """Return the cgroup's limit in bytes, or None where nothing limits below the machine."""
    there = psutil.virtual_memory().total
    limits = [limit for limit, _ in cgroup_memory(text_of(PROCESS_CGROUP), _below_cgroup_root)]
    # Where nothing is set, cgroup v1 says a number that is larger than any memory.
    return min((limit for limit in limits if limit < there), default=None)


def cgroup_memory(own: str, read: Read) -> list[tuple[int, int]]:
    """Return limit and used bytes of every cgroup that binds this process and has a limit.

    Args:
        own: The text of /proc/self/cgroup.
        read: Reads a file below the cgroup root.
    """
    found = []
    for folder in cgroup_folders(own, "memory"):
        limit = _first_number(folder, LIMITS, read)
        if limit is not None:
            used = _first_number(folder, USAGES, read) or 0
            found.append((limit, max(0, used - _reclaimable(read(f"{folder}/memory.stat")))))
    return found


def _first_number(folder: str, names: tuple[str, ...], read: Read) -> int | None:
    texts = (read(f"{folder}/{name}").strip() for name in names)
    return next((int(text) for text in texts if text.isdecimal()), None)


def _reclaimable(stat: str) -> int:
    """Return the bytes of file pages that nobody has used lately."""
    fields = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    value = fields.get("total_inactive_file", fields.get("inactive_file", "0"))
    return int(value) if value.isdecimal() else 0


def _below_cgroup_root(name: str) -> str:
    return text_of(CGROUP_ROOT / name)
