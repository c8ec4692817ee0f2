"""Prepare a fresh process and become the real program. Standard library only; runs with `-I -S`.

    supervise_launch.py PARENT NICENESS IGNORED PROGRAM [ARGUMENT...]

PARENT is the supervisor's process id, or `-` for a program that shall outlive it. NICENESS is 0, or
more for a program that sets it to 0 itself when it has prepared itself. IGNORED is the number of a
signal that the program shall not hear, or `-`. Sheds what Ray's processes hand down: niceness, the
out-of-memory killer's preference, blocked and ignored signals.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Prepare, then exec."""
    parent, niceness, ignored, *argv = sys.argv[1:]
    if parent != "-":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before prctl took effect
            sys.exit("the supervisor has gone")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if ignored != "-":
        signal.signal(int(ignored), signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with suppress(OSError):  # both need rights that not every user has
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    if int(niceness):
        stand_back(int(niceness))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123  no site
        file.write("0")
    try:
        os.execvp(argv[0], argv)  # noqa: S606  no shell, on purpose
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error.strerror}")


def stand_back(niceness: int) -> None:
    """Among threads and among sessions: `serving/niceness.py` ends it."""
    if _can_come_back(niceness):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    if os.getsid(0) != os.getpid():  # it is somebody else's, who has chosen
        return
    with suppress(OSError):  # this kernel has none, or too many were changed in this tenth second
        session = os.open("/proc/self/autogroup", os.O_WRONLY)
        try:
            os.write(session, str(niceness).encode())
        finally:
            os.close(session)


def _can_come_back(niceness: int) -> bool:
    """Whether this user may end niceness, too: tried by a child, as only the kernel knows."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
