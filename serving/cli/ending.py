"""How a program of ours ends when it is told to: SIGTERM unwinds it, as Ctrl-C does.

Python itself would vanish at once: temporary folders stay then, and children go on.
"""

import signal
import sys
from types import FrameType
from typing import Final, NoReturn

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit status after Ctrl-C, as shells have it."""


def unwind_at_sigterm() -> None:
    """Let SIGTERM raise `SystemExit` in the main thread, from which this must be called."""
    signal.signal(signal.SIGTERM, _unwind)


def _unwind(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
