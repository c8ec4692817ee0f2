"""What commands print goes to: a terminal, a file, a pipe whose reader has left, or nobody."""

import errno
import io
import os
import sys
from pathlib import Path
from typing import Final

UNWRITABLE: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""Errors of a place that takes no more."""
UNUSABLE: Final = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
)
"""Errors of a path that somebody named, or that lies below one."""


def unwritable(error: OSError) -> str:
    """Say what cannot be written, or used; any other error is raised.

    A place that takes no more loses what stdout still holds. Empty: nobody need be told, for the
    reader of a pipe has read enough.
    """
    if error.errno in UNUSABLE and error.filename:
        return f"{error.filename} cannot be used: {error.strerror}"
    if error.errno not in UNWRITABLE:
        raise error
    discard_output()
    place = error.filename or "what this prints"
    return "" if error.errno == errno.EPIPE else f"{place} cannot be written: {error.strerror}"


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
