"""This process among others: what it sheds, with whom it dies, what it weighs."""

import asyncio
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

PR_SET_PDEATHSIG: Final = 1
OOM_SCORE_FILE: Final = Path("/proc/self/oom_score_adj")
STATM: Final = Path("/proc/self/statm")
STDIN: Final = 0
END_ORDER: Final = signal.SIGUSR1
"""By which a supervisor ends its worker in order. Who signals every process of an instance means
that supervisor, which has the worker's calls finished first."""

log = structlog.get_logger(__name__)


def shed_inheritance() -> None:
    """Undo what Ray's processes hand down: blocked signals, the OOM killer's preference.

    What needs rights that we do not have is left as it is.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with suppress(OSError):
        OOM_SCORE_FILE.write_text("0")


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when `parent` ends, and end if it has ended already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} has gone")


def _watch_stdin(loop: asyncio.AbstractEventLoop, on_end: Callable[[], None]) -> None:
    """Call `on_end` at the end of standard input: the pipe from the parent breaks with it."""

    def read() -> None:
        if not os.read(STDIN, 4096):
            loop.remove_reader(STDIN)
            on_end()

    loop.add_reader(STDIN, read)


def rss_bytes() -> int:
    """Return this process's resident memory."""
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def stop_events(loop: asyncio.AbstractEventLoop, *, is_supervised: bool) -> asyncio.Event:
    """Return an event that is set when this process shall stop.

    With a supervisor that is by its order, and by its end; by the signals of people without one.
    """
    stop = asyncio.Event()
    loop.add_signal_handler(END_ORDER, stop.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        if is_supervised:
            loop.add_signal_handler(number, _tell_unheard, number)
        else:
            loop.add_signal_handler(number, stop.set)
    if is_supervised:
        _watch_stdin(loop, stop.set)
    return stop


def _tell_unheard(number: signal.Signals) -> None:
    remedy = "its supervisor ends it; kill -9 has it started again"
    log.warning("signal_ignored", signal=number.name, remedy=remedy)
