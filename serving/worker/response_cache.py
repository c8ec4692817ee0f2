"""Answers kept by what was asked: one bound in bytes for all versions, oldest use goes first.

A key is the digest of a call's inputs, so what is compared is content: shapes and elements, however
they were written on the wire. An entry is all outputs of the model; which of them a caller wants,
and in which form, is decided when the reply is encoded.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from runtimes.contract import Array
from serving.wire.call import InferCall
from serving.wire.tensors import array_bytes, encode_strings
from serving.worker.quality_gate import JudgedOutputs

ENTRY_BYTES: Final = 512
"""What an entry costs besides its elements: key, arrays' headers, the place in the order."""


class CacheKey(NamedTuple):
    """Which version was asked, and what."""

    owner: int
    """The loaded version, not its name: a reloaded one never sees old answers."""
    digest: bytes


class _Entry(NamedTuple):
    outputs: Sequence[Array]
    size_bytes: int


def call_digest(call: InferCall) -> bytes:
    """Return what distinguishes the inputs of a call that was checked: shapes and elements."""
    digest = hashlib.sha256(repr(call.shapes).encode())
    for tensor in call.tensors:
        if tensor is None:
            continue
        data = encode_strings(tensor) if isinstance(tensor, np.ndarray) else tensor
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


class ResponseCache:
    """The kept answers of one process. Belongs to one event loop."""

    def __init__(self, max_bytes: int) -> None:
        """Keep nothing yet."""
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self._entries: OrderedDict[CacheKey, _Entry] = OrderedDict()
        self._owner_count = 0

    def __len__(self) -> int:
        """Count the kept answers."""
        return len(self._entries)

    def new_owner(self) -> int:
        """Return a number for a loaded version, never given before."""
        self._owner_count += 1
        return self._owner_count

    def get(self, key: CacheKey) -> Sequence[Array] | None:
        """Return the outputs that were kept for a key; None: there are none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.outputs

    def put(self, key: CacheKey, outputs: Sequence[Array]) -> None:
        """Keep a copy of outputs, and let go of the longest unused ones for it."""
        size_bytes = answer_bytes(outputs)
        if size_bytes > self.max_bytes:
            return
        self._remove(key)
        while self.size_bytes + size_bytes > self.max_bytes:
            self._remove(next(iter(self._entries)))
        # Outputs of a batch are views of it: kept as they are, they would keep all of it.
        kept: Sequence[Array] = [_copied(array) for array in outputs]
        if isinstance(outputs, JudgedOutputs):  # what was said of them holds for their copies
            kept = JudgedOutputs(kept, outputs.judge, outputs.verdict)
        self._entries[key] = _Entry(kept, size_bytes)
        self.size_bytes += size_bytes

    def drop(self, owner: int) -> None:
        """Forget all answers of a version that was unloaded."""
        for key in [key for key in self._entries if key.owner == owner]:
            self._remove(key)

    def _remove(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= entry.size_bytes


def answer_bytes(outputs: Sequence[Array]) -> int:
    """Return what keeping outputs costs."""
    return ENTRY_BYTES + sum(map(array_bytes, outputs))


def _copied(array: Array) -> Array:
    copy = np.array(array, order="C", copy=True)
    copy.flags.writeable = False
    return copy
