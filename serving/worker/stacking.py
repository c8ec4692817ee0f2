"""Fast path. Pure: the tensors of a batch's calls → the engine's feeds; its outputs → each call's.

A batch of one call is not copied. Several calls cost one join per input. Outputs are split into
views. Feeds are read-only: they may be the very bytes that a client sent.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import EngineError
from serving.wire.call import InferCall


class Stacked(Protocol):
    """A call of a batch."""

    rows: int
    call: InferCall


class OutputRowsError(EngineError):
    """A model gave an output whose first dimension is not the rows that it was fed."""


class Stacker:
    """Builds the feeds of one version's batches and splits its outputs."""

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        max_batch_rows: int,
    ) -> None:
        """Take the model's specs; `max_batch_rows` 0 means that there is no batch dimension."""
        self._dtypes: tuple[np.dtype[Any] | None, ...] = tuple(
            None if spec.datatype is Datatype.BYTES else DTYPES[spec.datatype] for spec in inputs
        )
        self._output_names = tuple(spec.name for spec in outputs)
        self._is_batched = max_batch_rows > 0

    def feeds(self, batch: Sequence[Stacked], rows: int) -> list[Array | None]:
        """Return one array per input, of shape (rows, *dims); None for inputs left out."""
        if len(batch) == 1:
            call = batch[0].call
            return [
                None if shape is None else single(tensor, dtype, shape)
                for tensor, dtype, shape in zip(
                    call.tensors, self._dtypes, call.shapes, strict=True
                )
            ]
        return [
            None
            if shape is None
            else joined([item.call.tensors[index] for item in batch], dtype, (rows, *shape[1:]))
            for index, (dtype, shape) in enumerate(
                zip(self._dtypes, batch[0].call.shapes, strict=True)
            )
        ]

    def split(
        self, batch: Sequence[Stacked], rows: int, outputs: Sequence[Array]
    ) -> list[Sequence[Array]]:
        """Return each call's outputs, in the order of the batch.

        Raises:
            OutputRowsError: An output cannot be split by rows without giving a call a result
                that is not its own.
        """
        if self._is_batched:
            for name, output in zip(self._output_names, outputs, strict=True):
                if not output.ndim or output.shape[0] != rows:
                    raise OutputRowsError(
                        f"output '{name}' has shape {list(output.shape)} for a batch of {rows} "
                        "rows: its first dimension is not the batch; set max_batch_size to 0 for "
                        "this model"
                    )
        if len(batch) == 1:
            return [outputs]
        parts: list[Sequence[Array]] = []
        start = 0
        if len(outputs) == 1:  # as most models have; a comprehension is a call
            (only,) = outputs
            for item in batch:
                end = start + item.rows
                parts.append((only[start:end],))
                start = end
            return parts
        for item in batch:
            end = start + item.rows
            parts.append([output[start:end] for output in outputs])
            start = end
        return parts


def single(tensor: Any, dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> Array:  # noqa: ANN401  any buffer
    """View one call's tensor; copied only if its bytes start at an odd address."""
    if dtype is None:
        strings: Array = tensor
        return strings
    if not len(tensor):
        return np.empty(shape, dtype)
    array = np.frombuffer(tensor, dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def joined(tensors: Sequence[Any], dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> Array:
    """Stack several calls' tensors along the first dimension."""
    if dtype is None:
        return np.concatenate(tensors)
    raw = b"".join(tensors)
    if not raw:
        return np.empty(shape, dtype)
    return np.frombuffer(raw, dtype).reshape(shape)
