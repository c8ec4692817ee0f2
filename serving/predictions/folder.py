"""Segments in a folder: who writes which, and what goes when there is no more room.

A segment's name is ``CREATED-WORKER-PID-NUMBER`` with ``.open`` while its writer has it locked and
``.seg`` when it is finished; CREATED counts milliseconds since 1970, so names are in order of time.
All workers of a node share one folder. Whoever needs a new segment makes room for it first, under
the folder's lock: open segments count as full ones, so all together never take more than the bound.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPEN: Final = ".open"
FINISHED: Final = ".seg"
LOCK: Final = ".lock"
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600


class NoRoomError(OSError):
    """All of the room is taken by segments that are being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is kept, and how long."""

    max_bytes: int
    segment_bytes: int
    retention_s: float


class SegmentFolder:
    """One folder of segments."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        """Touch nothing yet."""
        self.path = folder
        self.bounds = bounds

    def begin(self, stem: str, now_ms: int) -> tuple[Path, int]:
        """Make room, and begin a segment; returns its path and its locked descriptor.

        Raises:
            NoRoomError: Other writers have taken all of it.
            OSError: The folder cannot be written.
        """
        self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        with self.locked():
            self.make_room(now_ms, for_new=True)
            path = self.path / f"{now_ms:013d}-{stem}{OPEN}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, FILE_MODE)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path, descriptor

    def finish(self, path: Path) -> Path:
        """Give a segment its final name."""
        target = path.with_suffix(FINISHED)
        path.rename(target)
        return target

    def make_room(self, now_ms: int, *, for_new: bool) -> None:
        """Finish what dead writers left, and let the oldest segments go; the lock is held.

        Raises:
            NoRoomError: There is none for a new segment.
        """
        bounds = self.bounds
        for path in self.path.glob(f"*{OPEN}"):
            if _is_orphan(path):
                self.finish(path)
        finished = sorted(self.path.glob(f"*{FINISHED}"))
        sizes = {path: path.stat().st_size for path in finished}
        writers = len(list(self.path.glob(f"*{OPEN}"))) + for_new
        used = sum(sizes.values()) + writers * bounds.segment_bytes
        oldest_s = now_ms / 1e3 - bounds.retention_s
        for path in finished:
            if used <= bounds.max_bytes and path.stat().st_mtime >= oldest_s:
                continue
            path.unlink()
            used -= sizes[path]
        if used > bounds.max_bytes and for_new:
            raise NoRoomError(
                f"{writers} segments of {bounds.segment_bytes} bytes do not fit "
                f"{bounds.max_bytes}: raise BASCULE_PREDICTION_LOG_BYTES"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from making room meanwhile."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path / LOCK, flags, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def created_ms(name: str) -> int:
    """Return when a segment was begun, from its name; 0: it is no segment's name."""
    first = name.partition("-")[0]
    return int(first) if first.isdecimal() and name.endswith((OPEN, FINISHED)) else 0


def _is_orphan(path: Path) -> bool:
    """Tell whether nobody writes an open segment any more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
