"""Processes that stand back for others, and how they compute like everybody else again.

A thread's own niceness counts among the threads of its session, or of its control group. Where
sessions share the CPUs as groups (`sched_autogroup_enabled`), a session's niceness counts among
sessions, and a thread's own says nothing to those of others.

A worker, whose session is its own, has both while it loads (`serving/supervise_launch.py`). So has
what our own Ray starts, all of it in one session (`serving/cluster/ray_process.py`).
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

AUTOGROUP: Final = "autogroup"
OWN: Final = Path("/proc/self", AUTOGROUP)
TRIED: Final = "import os; os.setpriority(0, 0, 19); os.setpriority(0, 0, 0)"
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


def leave_session() -> None:
    """Become a session of our own, if we are in another's, and stand back no more."""
    if os.getsid(0) != os.getpid():
        with suppress(OSError):  # the leader of a process group, as Ray's actors are, cannot leave
            os.setpgid(0, os.getpgid(os.getppid()))
        with suppress(PermissionError):
            os.setsid()
    end_niceness()


def let_session_stand_back(pid: int, niceness: int) -> bool:
    """Give a niceness to the session of one of our processes, where sessions can have one.

    False: as with `end_niceness`, it is to be asked for again.
    """
    return _is_settled(Path("/proc", str(pid), AUTOGROUP), niceness)


def may_be_ended() -> bool:
    """Whether this user may end a thread's niceness: tried by a child, as only the kernel knows."""
    words = (sys.executable, "-I", "-S", "-c", TRIED)
    done = subprocess.run(words, stderr=subprocess.DEVNULL, check=False)  # noqa: S603  our own
    return done.returncode == 0


def _end_session_niceness() -> bool:
    with suppress(OSError):  # this kernel has none
        if not OWN.read_text().rstrip().endswith(UNCHANGED):
            return _is_settled(OWN, 0)
    return True


def _is_settled(path: Path, niceness: int) -> bool:
    """Set a session's niceness; False: too many were changed in this tenth of a second."""
    try:
        _write(path, niceness)
    except BlockingIOError:
        return False
    except OSError:
        return True  # this kernel has none, or the process has ended
    return True


def _write(path: Path, niceness: int) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, str(niceness).encode())
    finally:
        os.close(file)
