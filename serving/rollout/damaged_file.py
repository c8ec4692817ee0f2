"""Reads what one controller left to the next; a damaged file is told of and kept beside.

It must not keep every controller from starting: what it said is lost, and learnt anew. Blocking.
"""

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")


def read_or_set_aside(path: Path, kind: type[T], *, event: str, remedy: str) -> T | None:
    """Return what a file says; None: there is none, or it cannot be read.

    Args:
        path: Where it is; what cannot be read is moved to `.damaged` beside it.
        kind: What it holds, as JSON.
        event: What the log calls its loss.
        remedy: What that means, and what to do about it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeError, OSError) as error:
        kept = path.with_suffix(".damaged")
        with suppress(OSError):  # what cannot be moved is written over by the next change
            path.replace(kept)
        log.warning(event, file=str(path), kept=str(kept), error=str(error), remedy=remedy)
        return None
