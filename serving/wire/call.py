"""Fast path. The records that both wires produce and consume, and what they are checked against.

A codec turns bytes into an `InferCall` that is known to fit its `CallSpec`, or raises; it turns the
engine's arrays back into bytes. Tensor bytes stay views of the received body.
`msgspec.Struct` instead of a frozen dataclass: it builds five times faster, once per request.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from runtimes.contract import TensorSpec
from serving.wire.padding import Padding
from serving.wire.regions import RegionSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpec:
    """What a call to one version must look like.

    `inputs` and `outputs` are full shapes in the model's order, with a leading -1 (the batch)
    exactly if `max_batch_rows` is at least 1.
    """

    model: str
    version: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_rows: int
    labels: tuple[tuple[str, ...], ...] = ()
    """Class names per output, for classification; empty where there are none."""
    padding: Padding | None = None
    """How calls of different lengths run together; None: they do not."""


class OutputAsk(msgspec.Struct, frozen=True):
    """One requested output."""

    index: int
    """Position in `CallSpec.outputs`."""
    binary: bool
    """Raw bytes after the JSON, or JSON data; always True on gRPC."""
    classification: int = 0
    """k > 0: instead of the tensor, its k largest values a row, as `value:index[:label]`."""
    region: RegionSpan | None = None
    """Where it goes instead of the reply, if the client shares memory."""


class InferCall(msgspec.Struct, frozen=True):
    """One infer request, decoded and checked: it can be run as it is."""

    id: str
    rows: int
    """Rows along the batch axis; 1 for a model without a batch dimension."""
    shapes: tuple[tuple[int, ...] | None, ...]
    """Full shape of each input in the model's order; None for an optional input left out."""
    stack_key: Any
    """Calls with equal keys may be stacked along the batch axis (equal non-batch dimensions, or of
    one bucket where these are padded; equal set of optional inputs); hashable."""
    tensors: tuple[Any, ...]
    """Per input, in the model's order: raw little-endian bytes (any buffer, of exactly the right
    size), or for BYTES a numpy object array of `str` in the full shape; None if left out."""
    outputs: tuple[OutputAsk, ...]
    """What to send back, in the model's order."""
    timeout_s: float = 0.0
    """Longest time in the queue that the caller allows; 0: no limit of its own."""
    priority: int = 0
    parameters: Any = None
    """Custom parameters, a dict of scalars, or None; shared between equal calls, never changed."""
    region_bytes: int = 0
    """Bytes of its tensors that did not come with the request, but out of shared memory."""
    flags: str = ""
    """What the answer shall say of the request in the parameter `bascule_flags`; empty: nothing."""
    bad_rows: Any = None
    """Marks the rows that break the data contract, if its answer is judged too; None: none does."""


Array = np.ndarray[Any, np.dtype[Any]]
"""A tensor of any shape and dtype."""
