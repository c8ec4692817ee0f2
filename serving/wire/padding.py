"""Fast path of versions that pad. Pure: calls of different lengths → arrays of one, and back.

Padded to the longest call of a batch, not to the bucket: a call alone, and calls of equal lengths,
are run as they came, and an engine computes no more than the batch needs. A bucket only bounds by
how much a call may be lengthened for another one's sake.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.contract import Array
from runtimes.errors import InvalidArgumentError

Shapes = Sequence[tuple[int, ...] | None]
"""The full shape of each input, in the model's order; None: left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedInput:
    """An input that is padded."""

    place: int
    """In the model's order."""
    name: str
    axes: tuple[int, ...]
    value: float
    """An `int` for integers, which may be too large for a float."""

    def joined(self, arrays: Sequence[Array], length: int) -> Array:
        """Copy several calls' arrays into one, one below the other, each padded to a length."""
        shape = list(arrays[0].shape)
        shape[0] = sum([len(array) for array in arrays])
        for axis in self.axes:
            shape[axis] = length
        batch = np.empty(shape, arrays[0].dtype)
        begin = 0
        for array in arrays:
            end = begin + len(array)
            self._lay(batch[begin:end], array)
            begin = end
        return batch

    def _lay(self, room: Array, array: Array) -> None:
        room[tuple([slice(size) for size in array.shape])] = array
        for axis in self.axes:
            room[(slice(None),) * axis + (slice(array.shape[axis], None),)] = self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOutput:
    """What an output must be like where lengths differ, and along which axes it is cut."""

    name: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    """Full; free along the batch and `axes` only."""

    def fits(self, found: tuple[int, ...], length: int) -> bool:
        """Whether an output of this shape can be cut back to each call's length."""
        return len(found) == len(self.shape) and all(
            found[axis] == (length if axis in self.axes else self.shape[axis])
            for axis in range(1, len(found))
        )

    def cut(self, array: Array, length: int) -> Array:
        """Return a call's part of an output: a copy, which keeps nothing of the others."""
        if not self.axes or array.shape[self.axes[0]] == length:
            return array
        places = [slice(None)] * array.ndim
        for axis in self.axes:
            places[axis] = slice(length)
        return np.ascontiguousarray(array[tuple(places)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """How one version's calls are padded."""

    buckets: tuple[int, ...]
    inputs: tuple[PaddedInput, ...]
    """Those that are."""
    outputs: tuple[CutOutput, ...]
    """All, in the model's order."""

    def length(self, shapes: Shapes) -> int:
        """Return a call's length; 0: it has none of the inputs that are padded."""
        for one in self.inputs:
            shape = shapes[one.place]
            if shape is not None:
                return shape[one.axes[0]]
        return 0

    def padded_length(self, calls: Sequence[Shapes]) -> int:
        """Return the length to which these calls are padded together; 0: they are of one length."""
        lengths = [self.length(shapes) for shapes in calls]
        longest = max(lengths)
        return longest if min(lengths) < longest else 0

    def cut(self, outputs: Sequence[Array], length: int) -> list[Array]:
        """Return a call's outputs in its own length."""
        return [one.cut(array, length) for one, array in zip(self.outputs, outputs, strict=True)]

    def bucketed(self, shapes: Shapes, model: str) -> list[tuple[int, ...] | None]:
        """Return shapes by which calls are told apart: equal for those that may run together.

        Args:
            shapes: A call's.
            model: For the message.

        Raises:
            InvalidArgumentError: Sizes that are one length differ.
        """
        self._require_one_length(shapes, model)
        found = list(shapes)
        length = self.length(shapes)
        if not 1 <= length <= self.buckets[-1]:
            return found
        bucket = self.buckets[bisect_left(self.buckets, length)]
        for one in self.inputs:
            shape = shapes[one.place]
            if shape is not None:
                found[one.place] = tuple(
                    [bucket if axis in one.axes else size for axis, size in enumerate(shape)]
                )
        return found

    def _require_one_length(self, shapes: Shapes, model: str) -> None:
        first = ""
        length = self.length(shapes)
        for one in self.inputs:
            shape = shapes[one.place]
            if shape is None:
                continue
            first = first or one.name
            for axis in one.axes:
                if shape[axis] != length:
                    raise InvalidArgumentError(
                        f"unexpected shape for input '{one.name}' for model '{model}'. Expected "
                        f"{length} along axis {axis}, as input '{first}' has, got {shape[axis]}: "
                        "they are padded together"
                    )
