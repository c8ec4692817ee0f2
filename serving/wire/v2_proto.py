"""Fast path. ModelInferRequest → `InferCall`, arrays → ModelInferResponse, without protobuf.

Requests of one client and shape differ in their tensor bytes only. The rest of such a message, its
*frame*, is kept by the length of the whole: a message that has the same bytes around the tensors
means the same, and nothing of it is walked. A request id takes part in the frame, so requests with
one are always walked.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from runtimes.errors import EngineError
from serving.wire.call import Array, CallSpec, InferCall, OutputAsk
from serving.wire.input_checks import InputChecks, InputPlan
from serving.wire.output_checks import OutputChecks
from serving.wire.parameters import Parameters
from serving.wire.proto_request import (
    ProtoRequest,
    Span,
    read_request,
    read_target,
    take_data,
    take_mixed_data,
)
from serving.wire.protobuf import delimited, varint
from serving.wire.regions import NoRegions, Regions
from serving.wire.replies import (
    FLAGS,
    ReplyTensor,
    has_constant_head,
    reply_tensors,
    write_to_region,
)
from serving.wire.tensors import Buffer, raw_bytes

__all__ = ["V2ProtoCodec", "read_target"]

MAX_PLANS: Final = 128
MAX_FRAME_BYTES: Final = 2048
MAX_HEADS: Final = 256
_NO_REGIONS: Final = NoRegions()
_RAW_TAG: Final = b"\x32"  # raw_output_contents, field 6


class _Gap(msgspec.Struct, frozen=True):
    """Constant bytes between tensors, or after the last one."""

    start: int
    end: int
    content: bytes


class _Plan(msgspec.Struct, frozen=True):
    """What a message means that has these bytes around its tensors."""

    prefix: bytes
    gaps: tuple[_Gap, ...]
    raws: tuple[Span, ...]
    is_plain: bool
    """The rest of the message is the one tensor; the message's length fixes its size."""
    inputs: InputPlan
    outputs: tuple[OutputAsk, ...]
    parameters: Parameters


class V2ProtoCodec:
    """Decodes and encodes the gRPC calls to one version; owns two small bounded caches.

    One per hosted version, used by one thread. It does not look at the message's model and version.
    """

    def __init__(self, spec: CallSpec, *, regions: Regions = _NO_REGIONS) -> None:
        """Prepare for calls that must fit `spec`."""
        self._spec = spec
        self._regions = regions
        self._checks = InputChecks(spec)
        self._outputs = OutputChecks(spec)
        self._start = delimited(1, spec.model.encode()) + delimited(2, b"%d" % spec.version)
        self._plans: dict[int, _Plan] = {}
        self._heads: dict[Any, _Head] = {}

    def decode_request(self, message: Buffer) -> InferCall:
        """Decode and check one ModelInferRequest (without frame, after decompression).

        Tensors of the call are views of `message`.

        Raises:
            InvalidArgumentError: The message is malformed or does not fit the model.
            NotFoundError: It names a shared-memory region that is not registered.
        """
        view = memoryview(message)
        plan = self._plans.get(len(view))
        # As bytes: a view is compared item by item.
        if plan is None or bytes(view[: len(plan.prefix)]) != plan.prefix:
            return self._decode(view)
        if plan.gaps and not _same_gaps(view, plan.gaps):
            return self._decode(view)
        inputs, parameters = plan.inputs, plan.parameters
        tensors: tuple[Any, ...]
        if plan.is_plain:
            tensors = (view[len(plan.prefix) :],)
        else:
            data = [view[start:end] for start, end in plan.raws]
            tensors = self._checks.take_tensors(inputs, data, "")
        return InferCall(
            "",
            inputs.rows,
            inputs.shapes,
            inputs.stack_key,
            tensors,
            plan.outputs,
            parameters.timeout_s,
            parameters.priority,
            parameters.custom,
        )

    def _decode(self, view: memoryview) -> InferCall:
        request = read_request(view)
        if request.regions or any(output.region is not None for output in request.outputs):
            return self._decode_with_regions(view, request)
        data = take_data(view, request, self._checks)
        outputs = self._asked(request)
        inputs = self._checks.plan_inputs(request.given, request.id)
        tensors = self._checks.take_tensors(inputs, data, request.id)
        parameters = request.parameters
        if request.raws and not request.id:
            self._remember(view, request.raws, inputs, outputs, parameters)
        return InferCall(
            request.id,
            inputs.rows,
            inputs.shapes,
            inputs.stack_key,
            tensors,
            outputs,
            parameters.timeout_s,
            parameters.priority,
            parameters.custom,
        )

    def _asked(self, request: ProtoRequest) -> tuple[OutputAsk, ...]:
        if request.outputs:
            return self._outputs.listed_outputs(request.outputs, request.id)
        return self._outputs.all_outputs(binary=True)

    def _decode_with_regions(self, view: memoryview, request: ProtoRequest) -> InferCall:
        """Decode a call that has inputs or outputs in shared memory; nothing of it is kept."""
        data = take_mixed_data(view, request, self._checks, self._regions)
        outputs = self._asked(request)
        for ask in outputs:
            if ask.region is not None:
                self._regions.check(ask.region)
        inputs = self._checks.plan_inputs(request.given, request.id)
        tensors = self._checks.read_regions(inputs, data, request.id)
        parameters = request.parameters
        return InferCall(
            request.id,
            inputs.rows,
            inputs.shapes,
            inputs.stack_key,
            self._checks.take_tensors(inputs, tensors, request.id),
            outputs,
            parameters.timeout_s,
            parameters.priority,
            parameters.custom,
            sum([span.size_bytes for span in request.regions.values()]),
        )

    def _remember(
        self,
        view: memoryview,
        raws: list[Span],
        inputs: InputPlan,
        outputs: tuple[OutputAsk, ...],
        parameters: Parameters,
    ) -> None:
        """Keep the frame of a message that passed every check."""
        size = len(view)
        if size - sum([end - start for start, end in raws]) > MAX_FRAME_BYTES:
            return
        starts = [*(start for start, _ in raws[1:]), size]
        gaps = tuple(
            [
                _Gap(end, start, bytes(view[end:start]))
                for (_, end), start in zip(raws, starts, strict=True)
                if end < start
            ]
        )
        is_plain = inputs.is_plain() and not gaps
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        prefix = bytes(view[: raws[0][0]])
        self._plans[size] = _Plan(prefix, gaps, tuple(raws), is_plain, inputs, outputs, parameters)

    def encode_reply(self, call: InferCall, outputs: Sequence[Array]) -> list[Buffer]:
        """Encode a ModelInferResponse, always with raw contents, as buffers to concatenate.

        `outputs` is one array per output of the *model*, in its order (asked for or not), with the
        rows of this call only. BYTES are object arrays of `str` or `bytes`.

        Raises:
            EngineError: An array does not fit its declared datatype.
        """
        if call.id or call.flags:
            return self._encode(call, outputs)
        is_single = len(outputs) == len(call.outputs) == 1  # most are, and comprehensions cost
        shapes = outputs[0].shape if is_single else tuple([array.shape for array in outputs])
        key = (call.outputs, shapes)
        head = self._heads.get(key)
        if head is None:
            if call.outputs and has_constant_head(self._spec, call):
                self._keep_head(key, call, outputs)
            return self._encode(call, outputs)
        parts: list[Buffer] = []
        for ask, raw_head in zip(call.outputs, head.raw_heads, strict=True):
            raw = raw_bytes(outputs[ask.index])
            if len(raw) != raw_head.size:
                raise EngineError("an output changed its element size between two calls")
            parts.append(raw_head.text)
            parts.append(raw)
        return parts

    def _keep_head(self, key: object, call: InferCall, outputs: Sequence[Array]) -> None:
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        tensors = reply_tensors(self._spec, call, outputs)
        first, *others = [_raw_head(tensor.array.nbytes) for tensor in tensors]
        first = _RawHead(self._head(call, tensors) + first.text, first.size)
        self._heads[key] = _Head((first, *others))

    def _encode(self, call: InferCall, outputs: Sequence[Array]) -> list[Buffer]:
        tensors = reply_tensors(self._spec, call, outputs)
        parts: list[Buffer] = [self._head(call, tensors)]
        for tensor in tensors:
            if tensor.region is not None:
                write_to_region(tensor, tensor.region, self._regions)
                parts.append(_raw_head(0).text)
                continue
            raw = tensor.raw()
            parts.append(_raw_head(len(raw)).text)
            parts.append(raw)
        return parts

    def _head(self, call: InferCall, tensors: Sequence[ReplyTensor]) -> bytes:
        entries = [_output(tensor) for tensor in tensors]
        flags = _text_parameter(FLAGS, call.flags) if call.flags else b""
        return b"".join((self._start, delimited(3, call.id.encode()), flags, *entries))


class _RawHead(msgspec.Struct, frozen=True):
    """What stands before one raw output."""

    text: bytes
    size: int


class _Head(msgspec.Struct, frozen=True):
    """All but the tensors of a reply; the first part begins with what comes before them."""

    raw_heads: tuple[_RawHead, ...]


def _raw_head(size: int) -> _RawHead:
    return _RawHead(_RAW_TAG + varint(size), size)


def _text_parameter(key: str, text: str) -> bytes:
    """Write one entry of the reply's parameters."""
    value = delimited(3, text.encode())  # InferParameter.string_param
    entry = delimited(1, key.encode()) + delimited(2, value)
    return b"\x22%b%b" % (varint(len(entry)), entry)


def _output(tensor: ReplyTensor) -> bytes:
    shape = b"".join([varint(dimension) for dimension in tensor.shape])
    payload = b"".join(
        (
            delimited(1, tensor.name.encode()),
            delimited(2, tensor.datatype.encode()),
            delimited(3, shape),
        )
    )
    return b"\x2a%b%b" % (varint(len(payload)), payload)


def _same_gaps(view: memoryview, gaps: Sequence[_Gap]) -> bool:
    return all(bytes(view[gap.start : gap.end]) == gap.content for gap in gaps)
