"""What a worker's supervisor and the template of workers (`template.py`) tell each other.

One connection a worker, of whole messages (SOCK_SEQPACKET)::

    supervisor → template   ForkOrder, with the worker's standard input and its log
    template → supervisor   Forked, with a descriptor of the process (pidfd) if there is one
    template → supervisor   Ended, when it has ended
"""

from typing import Final

import msgspec

MAX_MESSAGE_BYTES: Final = 1 << 20
FDS_OF_ORDER: Final = 2
FDS_OF_FORKED: Final = 1


class ForkOrder(msgspec.Struct, frozen=True):
    """What a worker is to be."""

    argv: tuple[str, ...]
    """Its whole command line, as `ps` shows it: `PYTHON -m serving.worker ARGUMENT...`."""
    env: dict[str, str]
    niceness: int


class Forked(msgspec.Struct, frozen=True):
    """A process, or why there is none."""

    pid: int = 0
    refusal: str = ""


class Ended(msgspec.Struct, frozen=True):
    """How a worker ended: `subprocess.Popen.returncode`'s way."""

    returncode: int
