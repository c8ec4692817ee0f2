"""How much memory something takes at its highest: the kernel's high-water mark, set back before."""

from pathlib import Path
from typing import Final

STATUS: Final = Path("/proc/self/status")
CLEAR: Final = Path("/proc/self/clear_refs")
RESET_PEAK: Final = "5"  # proc(5): sets VmHWM to the memory in use now
KIB: Final = 1024


class PeakMemory:
    """Measures from its creation on. Counts the whole process: create it when nothing else runs."""

    def __init__(self) -> None:
        """Set the high-water mark back, where the kernel lets us."""
        try:
            CLEAR.write_text(RESET_PEAK)
            self._start_bytes = memory_field(STATUS.read_text(), "VmRSS")
        except OSError:
            self._start_bytes = 0

    def taken_bytes(self) -> int:
        """Return by how much memory rose at its highest; 0: this system does not tell."""
        if not self._start_bytes:
            return 0
        return max(0, memory_field(STATUS.read_text(), "VmHWM") - self._start_bytes)


def memory_field(status: str, field: str) -> int:
    """Return a field of /proc/self/status in bytes; 0 where it is not there."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * KIB
    return 0
