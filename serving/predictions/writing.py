"""Appends batches of records to segments; blocks, and belongs to one thread.

A batch is written whole or not at all: what a full disk cut off is taken back at once. What a dying
process or machine cut off, readers leave out (`segment`). Nothing is synchronised to the disk
itself: the log survives the death of its process, and loses seconds with the machine's power.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from serving.predictions.folder import SegmentFolder
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

    def write(self, source: int, records: Sequence[Buffer]) -> int:
        """Append the records of one batch; returns how many bytes that took.

        Raises:
            RecordTooLargeError: They do not fit a segment.
            OSError: They could not be written; nothing of them remains.
        """
        size = _size(records) + _size(self._sources[source])
        if size > self._folder.bounds.segment_bytes:
            raise RecordTooLargeError
        if self._path is not None and not self._takes(size):
            self.seal()
        if self._path is None:
            self._begin()
        is_new = source not in self._written_sources
        parts = [*self._sources[source], *records] if is_new else list(records)
        self._append(parts)
        self._written_sources.add(source)
        written = _size(parts)
        self._size_bytes += written
        return written

    def seal_if_old(self) -> Path | None:
        """Finish a segment that is old; returns it."""
        is_old = self._path is not None and self._now_ns() - self._began_ns > self._seal_ns
        return self.seal() if is_old else None

    def seal(self) -> Path | None:
        """Finish the segment; returns it, or None: there is none."""
        path = self._path
        if path is None:
            return None
        os.close(self._descriptor)
        self._path = None
        return self._folder.finish(path)

    def _takes(self, size: int) -> bool:
        is_old = self._now_ns() - self._began_ns > self._seal_ns
        return not is_old and self._size_bytes + size <= self._folder.bounds.segment_bytes

    def _begin(self) -> None:
        self._count += 1
        now_ns = self._now_ns()
        stem = f"{self._stem}-{self._count}"
        self._path, self._descriptor = self._folder.begin(stem, now_ns // 1_000_000)
        self._began_ns = now_ns
        self._size_bytes = 0
        self._written_sources = set()

    def _append(self, parts: Sequence[Buffer]) -> None:
        try:
            for at in range(0, len(parts), MAX_PARTS):
                _write_all(self._descriptor, parts[at : at + MAX_PARTS])
        except OSError:
            os.ftruncate(self._descriptor, self._size_bytes)
            os.lseek(self._descriptor, self._size_bytes, os.SEEK_SET)
            raise


def _write_all(descriptor: int, parts: Sequence[Buffer]) -> None:
    written = os.writev(descriptor, parts)
    if written == _size(parts):
        return
    rest = b"".join(parts)[written:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _size(parts: Sequence[Buffer]) -> int:
    return sum(map(len, parts))
