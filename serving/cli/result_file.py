"""Files in which a long command leaves what it measured: looked at before, written at the end.

Whoever measured for an hour is not told then that there is no such folder; and what was measured
is on the screen before a file is written, for a disk may be full by then.
"""

import os
from pathlib import Path

from runtimes.errors import InvalidArgumentError


def check_places(*files: Path | None) -> None:
    """Make sure that files can be written, and create none.

    Args:
        files: Where something is to be written; None: nothing is.

    Raises:
        InvalidArgumentError: One cannot be written; says why.
    """
    for file in files:
        if file is not None:
            _check(file)


def write_result(file: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        InvalidArgumentError: It cannot be written.
    """
    try:
        file.write_bytes(content)
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be written: {error.strerror}") from error


def _check(file: Path) -> None:
    folder = file.absolute().parent
    if not folder.is_dir():
        raise InvalidArgumentError(f"{file}: there is no folder {folder}")
    if file.is_dir():
        raise InvalidArgumentError(f"{file} is a folder: name a file in it")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise InvalidArgumentError(f"{file} cannot be written: you may not write there")
