"""What the clients of a load test ask: inputs of a wanted size, and steps if it is a sequence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.cli.predict_http import tensor_bytes
from serving.cli.predict_tensors import NamedTensor, made_up_tensors

TEXT_BYTES: Final = 8  # a made-up text of BYTES and its length, on the wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request, or the steps of one sequence: the same inputs at each."""

    model: str
    tensors: tuple[NamedTensor, ...]
    step_count: int = 0
    """0: no sequence."""

    def body_bytes(self) -> int:
        """Count the bytes of the input tensors on the wire."""
        return sum(len(tensor_bytes(tensor)) for tensor in self.tensors)


def sized_tensors(specs: Sequence[TensorSpec], size_bytes: int) -> tuple[NamedTensor, ...]:
    """Make values up whose tensors have about `size_bytes` together; 0: as small as can be.

    The last free dimension that is not the first takes the size, or the first where no other is
    free: rows may be limited, what a row holds seldom is.

    Raises:
        InvalidArgumentError: A size was asked for, and no dimension of the model is free.
    """
    free_count = sum(_free_at(spec) is not None for spec in specs)
    if size_bytes and not free_count:
        took = sum(_element_bytes(spec.datatype) * _count(spec.shape) for spec in specs)
        raise InvalidArgumentError(
            f"--body-bytes {size_bytes}: the model's inputs have no free dimension, and {took} "
            "bytes together: leave --body-bytes out"
        )
    share_bytes = size_bytes // free_count if free_count else 0
    return made_up_tensors([_grown(spec, share_bytes) for spec in specs], 1)


def _grown(spec: TensorSpec, size_bytes: int) -> TensorSpec:
    at = _free_at(spec)
    if at is None:
        return spec
    smallest_bytes = _element_bytes(spec.datatype) * _count(spec.shape)
    shape = tuple(
        max(1, size_bytes // smallest_bytes) if index == at else max(size, 1)
        for index, size in enumerate(spec.shape)
    )
    return replace(spec, shape=shape)


def _free_at(spec: TensorSpec) -> int | None:
    """Return which dimension takes the size."""
    free = [index for index, size in enumerate(spec.shape) if size < 0]
    return free[-1] if free else None


def _count(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= max(size, 1)
    return count


def _element_bytes(datatype: Datatype) -> int:
    return TEXT_BYTES if datatype is Datatype.BYTES else DTYPES[datatype].itemsize
