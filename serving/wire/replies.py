"""Fast path. What a reply carries, before a wire gives it a form."""

from collections.abc import Sequence
from typing import Final

import msgspec

from runtimes.contract import TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import EngineError
from serving.wire.call import Array, CallSpec, InferCall, OutputAsk
from serving.wire.classification import classify
from serving.wire.regions import Regions, RegionSpan, output_too_small
from serving.wire.tensors import Buffer, encode_strings, raw_bytes

FLAGS: Final = "bascule_flags"
"""The parameter of a reply that names the broken rules of the version's data contract."""


class ReplyTensor(msgspec.Struct, frozen=True):
    """One output as the reply shows it."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    array: Array
    binary: bool
    region: RegionSpan | None = None

    def raw(self) -> Buffer:
        """Return the elements as the wire carries them."""
        if self.datatype is Datatype.BYTES:
            return encode_strings(self.array)
        return raw_bytes(self.array)


def reply_tensors(spec: CallSpec, call: InferCall, outputs: Sequence[Array]) -> list[ReplyTensor]:
    """Pick the outputs that were asked for, and give each its form.

    Args:
        spec: The version that ran.
        call: What was asked.
        outputs: One array per output of the model, in its order.

    Raises:
        EngineError: An output is missing or not of its declared datatype.
    """
    if len(outputs) != len(spec.outputs):
        raise EngineError(
            f"the model gave {len(outputs)} outputs, {len(spec.outputs)} are declared"
        )
    return [_reply_tensor(spec, ask, outputs[ask.index]) for ask in call.outputs]


def has_constant_head(spec: CallSpec, call: InferCall) -> bool:
    """Say whether the head of a reply depends on nothing but the shapes of the outputs."""
    return not call.id and all(
        ask.binary
        and not ask.classification
        and ask.region is None
        and spec.outputs[ask.index].datatype is not Datatype.BYTES
        for ask in call.outputs
    )


def _reply_tensor(spec: CallSpec, ask: OutputAsk, array: Array) -> ReplyTensor:
    tensor = spec.outputs[ask.index]
    if array.dtype != DTYPES[tensor.datatype]:
        raise EngineError(
            f"output '{tensor.name}' came as {array.dtype}, but {tensor.datatype} is declared"
        )
    if ask.classification:
        labels = spec.labels[ask.index] if ask.index < len(spec.labels) else ()
        best = classify(array, ask.classification, labels, batched=spec.max_batch_rows > 0)
        return ReplyTensor(tensor.name, Datatype.BYTES, best.shape, best, ask.binary)
    shape = _shown_shape(tensor, array.shape)
    return ReplyTensor(tensor.name, tensor.datatype, shape, array, ask.binary, ask.region)


def write_to_region(tensor: ReplyTensor, span: RegionSpan, regions: Regions) -> None:
    """Put an output where its client wants it.

    Raises:
        NotFoundError: The region is gone.
        InvalidArgumentError: It is too small, or cannot be written.
    """
    raw = tensor.raw()
    if len(raw) > span.size_bytes:
        raise output_too_small(tensor.name, span, len(raw))
    regions.write(span, raw)


def _shown_shape(tensor: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in the declared rank: one element may be a scalar or a vector of 1."""
    return tensor.shape if {shape, tensor.shape} == {(), (1,)} else shape
