"""How a process that stood back for others computes like everybody else again.

A thread's own niceness counts among the threads of its session, or of its control group. Where
sessions share the CPUs as groups (`sched_autogroup_enabled`), a session's niceness counts among
sessions, and a thread's own says nothing to those of others.

A worker, whose session is its own, has both while it loads (`serving/supervise_launch.py`).
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

OWN: Final = Path("/proc/self/autogroup")
THREADS: Final = Path("/proc/self/task")
UNCHANGED: Final = " nice 0"


def end_niceness() -> bool:
    """End both kinds, for all threads of this process; say whether that is done.

    False: users, all together, may change the niceness of sessions ten times a second, so it is to
    be asked for again. What cannot be ended was not begun.
    """
    for thread in THREADS.iterdir():
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), 0)
    leads_session = os.getsid(0) == os.getpid()
    return _end_session_niceness() if leads_session else True


def _end_session_niceness() -> bool:
    try:
        if not OWN.read_text().rstrip().endswith(UNCHANGED):
            _write(b"0")
    except BlockingIOError:
        return False
    except OSError:
        return True  # this kernel has none
    return True


def _write(niceness: bytes) -> None:
    file = os.open(OWN, os.O_WRONLY)
    try:
        os.write(file, niceness)
    finally:
        os.close(file)
