"""Segments in a folder: who writes which, and what goes when there is no more room.

A segment's name is ``CREATED-WORKER-PID-NUMBER`` with ``.open`` while its writer has it locked and
``.seg`` when it is finished; CREATED counts milliseconds since 1970, so names are in order of time.
All workers of a node share one folder. An open segment grows in steps, and its size says what is
reserved for it: up to the end of its step. Whoever begins a segment, or a step, makes room for that
first and writes under the folder's lock: so all together never take more than the bound.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPEN: Final = ".open"
FINISHED: Final = ".seg"
LOCK: Final = ".lock"
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
SET_BACK_MS: Final = 30_000
"""A clock that was set back by less is no matter: readers look further around a moment."""
STEPS: Final = 16
"""In so many steps a segment becomes full."""


class FolderFullError(OSError):
    """All of the room is taken by segments that are being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is kept, and how long."""

    max_bytes: int
    segment_bytes: int
    retention_s: float

    def reserved_bytes(self, size: int) -> int:
        """Return how far a segment of this size may grow before room is made for it again."""
        step = max(self.segment_bytes // STEPS, 1)
        return min((size // step + 1) * step, self.segment_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSegment:
    """A segment that went before its time, with what was in it."""

    name: str
    content: memoryview


class SegmentFolder:
    """One folder of segments."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        """Touch nothing yet."""
        self.path = folder
        self.bounds = bounds
        self.writer_count = 0
        """Open segments, when room was last made."""
        self._removed: list[RemovedSegment] = []

    def begin(self, stem: str, now_ms: int, size: int) -> tuple[Path, int]:
        """Make room, and begin a segment; the lock is held.

        Args:
            stem: The rest of its name.
            now_ms: Since 1970.
            size: What will be written at once.

        Returns:
            Its path and its locked descriptor.

        Raises:
            FolderFullError: Other writers have taken all of it.
            OSError: The folder cannot be written.
        """
        self.make_room(now_ms, grown=self.bounds.reserved_bytes(size))
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

    def make_room(self, now_ms: int, *, grown: int = 0) -> None:
        """Finish what dead writers left, and let the oldest segments go; the lock is held.

        Args:
            now_ms: Since 1970.
            grown: Bytes that will be reserved in addition.

        Raises:
            FolderFullError: They would not fit if all finished segments went; none has gone.
        """
        bounds = self.bounds
        reserved = self._reserved()
        finished = _finished(self.path, now_ms)
        # An owner may have finished its segment since it was listed: it must not count twice.
        open_bytes = sum(reserved[stem] for stem in reserved.keys() - {p.stem for p in finished})
        self.writer_count = len(reserved)
        if grown and open_bytes + grown > bounds.max_bytes:
            raise FolderFullError(
                f"{open_bytes} bytes of segments that are being written and {grown} more do not "
                f"fit {bounds.max_bytes}: raise BASCULE_PREDICTION_LOG_BYTES"
            )
        used = sum(size for size, _ in finished.values()) + open_bytes + grown
        oldest_s = now_ms / 1e3 - bounds.retention_s
        for path, (size, changed_s) in finished.items():
            if used <= bounds.max_bytes and changed_s >= oldest_s:
                continue
            if changed_s >= oldest_s:
                self._removed += _content(path)
            path.unlink(missing_ok=True)
            used -= size

    def keep_bounds(self, now_ms: int) -> None:
        """Let go what is too old, or too much, although nobody begins a segment.

        Raises:
            OSError: The folder cannot be written.
        """
        if self.path.is_dir():
            with self.locked():
                self.make_room(now_ms)

    def take_removed(self) -> list[RemovedSegment]:
        """Return, once, what went before its time."""
        removed, self._removed = self._removed, []
        return removed

    def _reserved(self) -> dict[str, int]:
        """Finish what dead writers left; return what is reserved for all others, by their stem."""
        reserved: dict[str, int] = {}
        for path in self.path.glob(f"*{OPEN}"):
            try:
                if _is_orphan(path):
                    self.finish(path)
                else:
                    reserved[path.stem] = self.bounds.reserved_bytes(path.stat().st_size)
            except FileNotFoundError:
                continue  # its owner was faster
        return reserved

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from making room meanwhile; the folder is made if there is none."""
        self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
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


def age_order(name: str, now_ms: int) -> tuple[bool, str]:
    """Return what segments are sorted by, the oldest first.

    One that begins after now was begun before the clock was set back: what came since is younger.
    """
    return created_ms(name) <= now_ms + SET_BACK_MS, name


def _finished(folder: Path, now_ms: int) -> dict[Path, tuple[int, float]]:
    """Return size and last change of finished segments, the oldest first."""
    found: dict[Path, tuple[int, float]] = {}
    paths = folder.glob(f"*{FINISHED}")
    for path in sorted(paths, key=lambda path: age_order(path.name, now_ms)):
        with suppress(FileNotFoundError):  # it was moved meanwhile
            known = path.stat()
            found[path] = (known.st_size, known.st_mtime)
    return found


def _content(path: Path) -> Iterator[RemovedSegment]:
    """Open a segment that will be removed: what it had can still be counted afterwards."""
    with suppress(FileNotFoundError), path.open("rb") as file:  # it was moved meanwhile
        size = os.fstat(file.fileno()).st_size
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        yield RemovedSegment(name=path.name, content=memoryview(content))
