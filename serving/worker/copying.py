"""What a copy of the template does before it is a worker: it becomes a process of its own.

It has what a started program would have: a session, three open descriptors, and a command line as
`ps` shows it. Random numbers are its own anyhow: Python draws a new seed in each copy, and ONNX
Runtime when the first model asks for one. It dies by the kernel when the other end of its standard
input is closed, which a supervisor does by its own end. (`PR_SET_PDEATHSIG` would look at the
parent, which is the template and nobody's supervisor.)
"""

import ctypes
import fcntl
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from serving.supervise_launch import stand_back
from serving.worker.fork_order import ForkOrder
from serving.worker.process import STDIN

STDOUT: Final = 1
STDERR: Final = 2
FIRST_INHERITED: Final = 3
MAX_FD: Final = 1 << 20
STAT: Final = Path("/proc/self/stat")
# Place of the command line's first byte among /proc/PID/stat's fields behind the name; the next
# is that behind its last.
ARG_START: Final = 45


def become(order: ForkOrder, stdin: int, log: int) -> None:
    """Turn this process, a copy, into one that `order` describes."""
    os.setsid()
    for number, fd in ((STDIN, stdin), (STDOUT, log), (STDERR, log)):
        os.dup2(fd, number)
    os.closerange(FIRST_INHERITED, MAX_FD)
    die_with_stdin()
    if order.niceness:
        stand_back(order.niceness)
    show_command_line(order.argv)


def die_with_stdin() -> None:
    """Ask the kernel to kill this process at the end of its standard input; end if that was before.

    It sends a signal of one's own choice when something happens to a pipe. Nobody writes to it.
    """
    fcntl.fcntl(STDIN, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(STDIN, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(STDIN, fcntl.F_SETFL, fcntl.fcntl(STDIN, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(STDIN, 0)
    if poll.poll(0):
        sys.exit("the supervisor has gone")


def show_command_line(argv: Sequence[str]) -> None:
    """Let `ps` and its like see this command line, as far as there is room for it.

    The room is that of the template's own, which was started with an argument of spaces for it.
    """
    fields = STAT.read_text().rpartition(")")[2].split()
    begin, end = (int(field) for field in fields[ARG_START : ARG_START + 2])
    room = end - begin
    text = b"\0".join(map(os.fsencode, argv))[: room - 1]
    ctypes.memmove(begin, text.ljust(room, b"\0"), room)
