"""Rows on their way from the loop to the thread that counts them, in memory laid out before.

One thread puts, one takes, and neither waits for a lock: each moves an index of its own. Texts have
no size and stand beside the bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from runtimes.contract import Array

MAX_ROWS: Final = 2048
MAX_BYTES: Final = 2 << 20
MIN_ROWS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where one tensor of a row stands."""

    dtype: np.dtype[Any]
    """`object` for texts."""
    count: int
    """Elements of a row."""

    @property
    def size_bytes(self) -> int:
        """Bytes of a row; 0: it has texts."""
        return 0 if self.dtype == object else self.dtype.itemsize * self.count


class RowRing:
    """A bounded queue of rows."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        """Lay out the memory."""
        self.slots = tuple(slots)
        sizes = [slot.size_bytes for slot in self.slots]
        self.starts = [sum(sizes[:place]) for place in range(len(sizes))]
        self.row_bytes = sum(sizes)
        room = MAX_BYTES // max(self.row_bytes, 1)
        self.capacity = max(MIN_ROWS, min(MAX_ROWS, room))
        self._memory = bytearray(self.capacity * self.row_bytes)
        self.bytes = memoryview(self._memory)
        self.texts: list[list[Any]] = [
            [] if slot.size_bytes else [None] * self.capacity for slot in self.slots
        ]
        self.is_there = [bytearray(self.capacity) for _ in self.slots]
        """For each slot: 1 for the rows that have it."""
        self.put_count = 0
        """Moved by who puts, when a row is complete."""
        self.taken_count = 0
        """Moved by who takes, when a row was copied."""

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return self.put_count - self.taken_count

    def take(self, max_rows: int) -> tuple[list[Array], list[Array], int]:
        """Take rows, oldest first.

        Returns:
            For each slot the values, shape (rows, count), and which rows have it; how many rows.
        """
        rows = min(self.waiting, max_rows)
        places = np.arange(self.taken_count, self.taken_count + rows) % self.capacity
        memory = np.frombuffer(self._memory, np.uint8).reshape(self.capacity, self.row_bytes)
        is_there = [np.frombuffer(marks, np.uint8)[places] > 0 for marks in self.is_there]
        values = [self._values(slot, memory, places) for slot in range(len(self.slots))]
        self.taken_count += rows
        return values, is_there, rows

    def _values(self, place: int, memory: Array, rows: Array) -> Array:
        slot = self.slots[place]
        if slot.size_bytes:
            begin = self.starts[place]
            raw = memory[rows, begin : begin + slot.size_bytes]
            return raw.reshape(-1).view(slot.dtype).reshape(len(rows), slot.count)
        texts = self.texts[place]
        found: Array = np.full((len(rows), slot.count), None, dtype=object)
        for at, row in enumerate(rows.tolist()):
            if texts[row] is not None:
                found[at] = texts[row]
                texts[row] = None
        return found
