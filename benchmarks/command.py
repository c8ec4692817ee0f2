"""What the programs of this folder have in common: their help, what they may be told, their end."""

import argparse
import errno
import io
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from benchmarks.report import RESULTS, ResultsError
from serving.cli.ending import INTERRUPTED, unwind_when_told

NO_PLACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""A disk that takes no more."""


def run_main(main: Callable[[], int]) -> NoReturn:
    """Run a program to its end; when it is told to end, nothing that it started is left."""
    unwind_when_told()
    for stream in (sys.stdout, sys.stderr):
        # What is found out in an hour is not lost to a terminal that knows no µ.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except ResultsError as error:
        status = _failed(error)
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        status = _failed(error)
    sys.exit(status)


def _failed(error: Exception) -> int:
    print(error, file=sys.stderr)
    return 1


def command_parser(module: str, about: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is what the module says of itself.

    Args:
        module: As `python -m` takes it.
        about: Its docstring.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says where reports go."""
    parser.add_argument(
        "--results",
        type=writable_folder,
        default=str(RESULTS),  # as text, so that it is looked at, too
        metavar="DIR",
        help="where the report goes (default: benchmarks/results)",
    )


def writable_folder(text: str) -> Path:
    """Return a folder that can be written to; it is made.

    Raises:
        ArgumentTypeError: It cannot.
    """
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be written: {error.strerror}") from error


def count(text: str) -> int:
    """Return a number of things.

    Raises:
        ArgumentTypeError: It is none, or less than 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 is expected")
    return int(text)


def positive(text: str) -> float:
    """Return seconds, or a share, that are more than none.

    Raises:
        ArgumentTypeError: It is no number, not above 0, or infinite.
    """
    found = _number(text)
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: a number above 0 is expected")
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
