"""Appends batches of records to segments; blocks, and belongs to one thread.

A batch is written whole or not at all: what a full disk cut off is taken back at once. What a dying
process or machine cut off, readers leave out (`segment`). Nothing is synchronised to the disk
itself unless `sync` is called: what is written survives the death of its process, and the machine's
power may take seconds of it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from serving.predictions.folder import SET_BACK_MS, FolderFullError, SegmentFolder
from serving.wire.tensors import Buffer

MAX_PARTS: Final = 512
"""Buffers of one system call; the kernel takes 1,024."""


class RecordTooLargeError(Exception):
    """A batch does not fit any segment."""


class SegmentWriter:
    """Writes the segments of one process."""

    def __init__(
        self, folder: SegmentFolder, stem: str, *, seal_s: float, now_ns: Callable[[], int]
    ) -> None:
        """Write nothing yet.

        Args:
            folder: Where.
            stem: What names this process in the names of its segments.
            seal_s: A segment is finished when it is so old.
            now_ns: Nanoseconds since 1970.
        """
        self._folder = folder
        self._stem = stem
        self._seal_ns = int(seal_s * 1e9)
        self._now_ns = now_ns
        self._sources: dict[int, list[Buffer]] = {}
        self._written_sources: set[int] = set()
        self._path: Path | None = None
        self._descriptor = -1
        self._size_bytes = 0
        self._began_ns = 0
        self._count = 0

    def put_source(self, number: int, frame: Sequence[Buffer]) -> None:
        """Remember who answers; it is written before its first record of each segment."""
        self._sources[number] = list(frame)
        self._written_sources.discard(number)

    def forget_source(self, number: int) -> None:
        """Forget one that answers no more."""
        self._sources.pop(number, None)
        self._written_sources.discard(number)

    def write(self, source: int, records: Sequence[Buffer]) -> int:
        """Append the records of one batch; returns how many bytes that took.

        Raises:
            RecordTooLargeError: They do not fit a segment.
            OSError: They could not be written; nothing of them remains.
        """
        size = _size(records) + _size(self._sources[source])
        if size > self._folder.bounds.segment_bytes:
            raise RecordTooLargeError
        if self._path is not None and not self._path.exists():
            # Somebody has removed it, perhaps with its folder: nobody would read what it gets.
            self._leave()
        if self._path is not None and not self._takes(size):
            self.seal()
        try:
            return self._put(source, records)
        except FolderFullError:
            if self.seal() is None:
                raise
            # What this process has written is finished now, and may go.
            return self._put(source, records)

    def sync(self) -> None:
        """Return when what was written survives the machine's power, too.

        Raises:
            OSError: The disk says that it does not.
        """
        if self._path is not None:
            os.fsync(self._descriptor)

    def seal_if_old(self) -> Path | None:
        """Finish a segment that is old; returns it."""
        is_old = self._path is not None and self._now_ns() - self._began_ns > self._seal_ns
        return self.seal() if is_old else None

    def seal(self) -> Path | None:
        """Finish the segment; returns it, or None: there is none."""
        path = self._path
        if path is None:
            return None
        self._path = None
        try:
            # Before the lock is given back: nobody may take it for a dead writer's.
            return self._folder.finish(path)
        finally:
            os.close(self._descriptor)

    def _takes(self, size: int) -> bool:
        age_ns = self._now_ns() - self._began_ns
        # By a clock that was set back it begins later than what is made now, which it would hide.
        is_of_its_time = -SET_BACK_MS * 1_000_000 <= age_ns <= self._seal_ns
        return is_of_its_time and self._size_bytes + size <= self._folder.bounds.segment_bytes

    def _put(self, source: int, records: Sequence[Buffer]) -> int:
        size = _size(records) + _size(self._sources[source])
        with self._room(size):
            is_new = source not in self._written_sources
            parts = [*self._sources[source], *records] if is_new else list(records)
            self._append(parts)
        self._written_sources.add(source)
        written = _size(parts)
        self._size_bytes += written
        return written

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        """Have a segment that may grow by so much while this lasts."""
        bounds, needs = self._folder.bounds, self._size_bytes + size
        reserved = bounds.reserved_bytes(self._size_bytes)
        if self._path is not None and needs <= reserved:
            yield
            return
        with self._folder.locked():
            if self._path is None:
                self._begin(size)
            else:
                grown = bounds.reserved_bytes(needs) - reserved
                self._folder.make_room(self._now_ns() // 1_000_000, grown=grown)
            yield

    def _begin(self, size: int) -> None:
        self._count += 1
        now_ns = self._now_ns()
        stem = f"{self._stem}-{self._count}"
        self._path, self._descriptor = self._folder.begin(stem, now_ns // 1_000_000, size)
        self._began_ns = now_ns
        self._size_bytes = 0
        self._written_sources = set()

    def _append(self, parts: Sequence[Buffer]) -> None:
        try:
            for at in range(0, len(parts), MAX_PARTS):
                _write_all(self._descriptor, parts[at : at + MAX_PARTS])
        except OSError:
            self._take_back()
            raise

    def _take_back(self) -> None:
        """Cut off what was half written."""
        try:
            os.ftruncate(self._descriptor, self._size_bytes)
            os.lseek(self._descriptor, self._size_bytes, os.SEEK_SET)
        except OSError:
            # What comes after a half record cannot be read: others may take the segment over.
            self._leave()
            raise

    def _leave(self) -> None:
        """Write no more to the segment, without finishing it."""
        self._path = None
        os.close(self._descriptor)


def _write_all(descriptor: int, parts: Sequence[Buffer]) -> None:
    written = os.writev(descriptor, parts)
    if written == _size(parts):
        return
    rest = b"".join(parts)[written:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _size(parts: Sequence[Buffer]) -> int:
    return sum(map(len, parts))
