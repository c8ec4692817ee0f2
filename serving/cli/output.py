"""What commands print goes to: a terminal, a file, a pipe whose reader has left, or nobody."""

import errno
import io
import os
import sys
from pathlib import Path
from typing import Final

UNWRITABLE: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""Errors of a place that takes no more."""


def prepare_output() -> None:
    """Make sure that printing, and asking, raises no errors of its own.

    Where stdin, stdout or stderr is closed, as some supervisors have it, nobody writes or reads. A
    terminal that cannot show a character gets a substitute.
    """
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115  until the process ends
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Drop what stdout still holds: Python would try to write it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
