"""Reads a file whole that somebody named, and of one that is too large no more than tells that.

A device, a pipe or a link to one has no size and perhaps no end: what is read is counted.
"""

import io
import os
from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError

PIECE_BYTES: Final = 1 << 20


def read_bounded(file: Path, most_bytes: int) -> bytes:
    """Return what a file holds.

    Raises:
        InvalidArgumentError: It has more.
        OSError: It cannot be read.
    """
    pieces: list[bytes] = []
    left = most_bytes + 1
    with file.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size > most_bytes:
            left = 0
        while left and (piece := stream.read(min(left, PIECE_BYTES))):
            pieces.append(piece)
            left -= len(piece)
    if not left:
        raise InvalidArgumentError(
            f"{file} has more than {most_bytes} bytes: name the file that was meant, or less of it"
        )
    return b"".join(pieces)


def read_bounded_text(file: Path, most_bytes: int, encoding: str = "utf-8") -> str:
    r"""Return the text of a file, its lines ended by `\n`; raises what `read_bounded` raises.

    Raises:
        UnicodeDecodeError: It is none in that encoding.
    """
    text = read_bounded(file, most_bytes).decode(encoding)
    return io.StringIO(text, newline=None).read()
