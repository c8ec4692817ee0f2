"""Fast path. Copies one row of a tensor to its place in a ring; what copies it is made once."""

from collections.abc import Callable
from typing import Any, Final

from runtimes.contract import Array
from serving.worker.drift.ring import RowRing

MAX_TEXT: Final = 1024
"""Of longer texts the beginning is looked at."""

Put = Callable[[Any, int, int, int], None]
"""(tensor, row, its rows, place in the ring); marks whether there was a row to copy."""


def put_input(ring: RowRing, slot: int) -> Put:
    """Return what copies a row of an input: bytes, texts, or None where it was left out."""
    size, start = ring.slots[slot].size_bytes, ring.starts[slot]
    row_bytes, memory, marks = ring.row_bytes, ring.bytes, ring.is_there[slot]
    if not size:
        return _put_texts(ring, slot)

    def put(tensor: Any, row: int, rows: int, at: int) -> None:  # noqa: ANN401  any buffer
        marks[at] = is_there = tensor is not None and len(tensor) == size * rows
        if is_there:
            begin = at * row_bytes + start
            chosen = tensor if rows == 1 else tensor[row * size : row * size + size]
            memory[begin : begin + size] = chosen

    return put


def put_output(ring: RowRing, slot: int) -> Put:
    """Return what copies a row of an output: an array of numbers, or of texts."""
    size, start, dtype = ring.slots[slot].size_bytes, ring.starts[slot], ring.slots[slot].dtype
    row_bytes, memory, marks = ring.row_bytes, ring.bytes, ring.is_there[slot]
    if not size:
        return _put_texts(ring, slot)

    def put(output: Array, row: int, rows: int, at: int) -> None:
        marks[at] = is_there = output.nbytes == size * rows and output.dtype == dtype
        if is_there:
            begin = at * row_bytes + start
            chosen = output if rows == 1 else output[row]
            memory[begin : begin + size] = chosen.tobytes()

    return put


def _put_texts(ring: RowRing, slot: int) -> Put:
    count, kept, marks = ring.slots[slot].count, ring.texts[slot], ring.is_there[slot]

    def put(texts: Any, row: int, rows: int, at: int) -> None:  # noqa: ANN401  an array or None
        marks[at] = is_there = texts is not None and texts.size == count * rows
        if is_there:
            found = texts.reshape(-1)[row * count : row * count + count].tolist()
            kept[at] = [_cut(text) for text in found]

    return put


def _cut(text: str | bytes) -> str | bytes:
    """Keep little of a long text: many wait, and levels are short."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT]
