"""How much memory another process of this machine takes."""

import resource
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = resource.getpagesize()


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory; 0 if it is ending at this moment."""
    try:
        statm = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(statm.split()[1]) * PAGE_BYTES
