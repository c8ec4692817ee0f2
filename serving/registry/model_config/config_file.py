"""Reads the text of a configuration from a file, which may be anything that somebody named."""

from pathlib import Path
from typing import Final

from runtimes.bounded_file import read_bounded_text
from runtimes.errors import InvalidArgumentError

MAX_CONFIG_BYTES: Final = 1 << 20


def read_config(file: Path) -> str:
    """Return the text of a `config.pbtxt`.

    Raises:
        InvalidArgumentError: It is too large, or no UTF-8.
        OSError: It cannot be read.
    """
    try:
        return read_bounded_text(file, MAX_CONFIG_BYTES)
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(
            f"{file} is no text in UTF-8: {error.reason} at byte {error.start}; write it anew"
        ) from error
