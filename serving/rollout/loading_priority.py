"""How much of the CPUs a worker may take while it loads beside others that serve.

Most of what it does until it is ready is importing and preparing, on CPUs that callers are waiting
for. A first start therefore stands back (`serving/niceness.py`), until the worker takes calls
itself or has tried for long. One that comes back after its end does not: it is missed. Where users
may not end a thread's niceness again (`RLIMIT_NICE`), only its session does.
"""

import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from serving.supervise import ChildSpec

LOADING_NICENESS: Final = 10
"""A ninth of the CPU time that others get who want all of it: `benchmarks/swaps.py` chose it."""


def first_start(child: ChildSpec, own: Path) -> ChildSpec:
    """Let a child stand back while it loads, if others than its own socket serve here."""
    others = (path for path in own.parent.glob("*.sock") if path != own)
    return replace(child, niceness=LOADING_NICENESS) if any(map(_listens, others)) else child


def _listens(path: Path) -> bool:
    """Whether somebody is there: workers that ended leave their sockets behind."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.settimeout(0)
        probe.connect(str(path))
        return True
    return False
