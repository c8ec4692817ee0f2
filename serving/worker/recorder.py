"""Flight recorder: which versions a worker was running or loading when it died.

A worker notes a version's tag in a small mapped file before it enters native code, and clears it
after. The kernel keeps the file when the process is killed, so its supervisor can name the
suspects. A note is one write into memory. One slot per thread that may run a model::

    slot 0      the event loop
    slot 1      the loader
    slot 2..15  the executor's threads
"""

import hashlib
import mmap
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from serving.ids import VersionKey

SLOT_COUNT: Final = 16
SLOT_BYTES: Final = 8
LOOP_SLOT: Final = 0
LOADER_SLOT: Final = 1
FIRST_THREAD_SLOT: Final = 2


def version_tag(key: VersionKey) -> int:
    """Return the number that stands for a version in the file: 64 bits, never 0."""
    digest = hashlib.blake2b(str(key).encode("utf-8", "surrogatepass"), digest_size=SLOT_BYTES)
    return int.from_bytes(digest.digest(), "little") | 1


def suspects(file: Path, hosted: Iterable[VersionKey]) -> tuple[VersionKey, ...]:
    """Return which of the hosted versions were noted when the worker died.

    A missing or short file names nobody: the worker died before it had one.
    """
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return ()
    if len(raw) < SLOT_COUNT * SLOT_BYTES:
        return ()
    noted = set(memoryview(raw)[: SLOT_COUNT * SLOT_BYTES].cast("Q"))
    return tuple(key for key in hosted if version_tag(key) in noted)


class Note:
    """What one version writes: `with note.on(slot): run`. Not reentrant within a slot."""

    __slots__ = ("_slots", "_tag")

    def __init__(self, slots: memoryview, tag: int) -> None:
        """Remember where and what to write."""
        self._slots = slots
        self._tag = tag

    def begin(self, slot: int) -> None:
        """Note that the version runs in this slot's thread."""
        self._slots[slot] = self._tag

    def end(self, slot: int) -> None:
        """Note that nothing runs in this slot's thread."""
        self._slots[slot] = 0


class FlightRecorder:
    """The write side; a context manager. Without a file it writes into its own memory."""

    def __init__(self, file: Path | None) -> None:
        """Create the file, or clear the one of the worker before."""
        size = SLOT_COUNT * SLOT_BYTES
        self.has_predecessor = file is not None and file.exists()
        """Whether a worker of this one's name was there before."""
        if file is None:
            self._mapped = mmap.mmap(-1, size)
        else:
            file.write_bytes(bytes(size))
            with file.open("r+b") as opened:
                self._mapped = mmap.mmap(opened.fileno(), size)
        self._view = memoryview(self._mapped)
        self._slots = self._view.cast("Q")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def note(self, key: VersionKey) -> Note:
        """Return the pen of a version."""
        return Note(self._slots, version_tag(key))

    def close(self) -> None:
        """Give the mapping back; the file stays."""
        self._slots.release()
        self._view.release()
        self._mapped.close()
