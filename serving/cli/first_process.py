"""Process 1 of a container: what the kernel expects of it, so that an image needs no init program.

Orphans become children of process 1, which alone can take them off the table of processes when they
end; and it hears only of signals that it asked for.
"""

import os
import signal
from typing import Final

HANDED_ON: Final = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
HEARD: Final = HANDED_ON | {signal.SIGCHLD}


def go_on_in_a_child() -> None:
    """Return in a child; stay behind in this process until the child ends, and end as it did.

    No other thread may run yet.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        heard = signal.sigwaitinfo(HEARD)
        if heard.si_signo == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                os._exit(status)
        elif heard.si_code <= 0:  # the kernel's own, Ctrl-C's, go to the child as well
            os.kill(child, heard.si_signo)


def _reap(child: int) -> int | None:
    """Take all that have ended off the table; return the child's exit status if it is one."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            found = 128 - code if code < 0 else code  # of a signal as shells have it
