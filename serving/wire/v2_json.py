"""Fast path. Open Inference Protocol JSON with binary tensors: body → `InferCall`, arrays → reply.

::

    request  = JSON header, then the raw tensors of the inputs that carry `binary_data_size`
    reply    = JSON head, then the raw outputs that were asked for as binary

A client sends the same header again and again when its shapes do not change, so what a header means
is kept by its bytes; a hit parses nothing.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
import orjson
from msgspec.structs import replace

from runtimes.datatypes import Datatype
from runtimes.errors import EngineError, InvalidArgumentError
from serving.wire.call import Array, CallSpec, InferCall, OutputAsk
from serving.wire.input_checks import InputChecks, InputPlan
from serving.wire.json_data import tensor_to_json
from serving.wire.json_request import RequestReader
from serving.wire.output_checks import OutputChecks
from serving.wire.parameters import NONE, Parameters
from serving.wire.raw_request import raw_input
from serving.wire.regions import NoRegions, Regions
from serving.wire.replies import (
    FLAGS,
    ReplyTensor,
    has_constant_head,
    reply_tensors,
    write_to_region,
)
from serving.wire.tensors import Buffer, raw_bytes

MAX_JSON_BYTES: Final = 64 << 20
MAX_PLANS: Final = 128
MAX_PLAN_HEADER_BYTES: Final = 2048
MAX_HEADS: Final = 256
_INT32: Final = range(-(2**31), 2**31)
_DECIMAL: Final = re.compile(rb"[+-]?[0-9]+")
_MAX_DIGITS: Final = 40  # zeros in front of a number may be many, but who writes so many?
_LENGTH_BYTES: Final = 4
_NO_REGIONS: Final = NoRegions()


class JsonReply(msgspec.Struct, frozen=True):
    """An encoded reply: the body is `head` and then each buffer of `tail`."""

    head: bytes
    tail: tuple[Buffer, ...] = ()
    header_length: int | None = None
    """Value of `Inference-Header-Content-Length`; None when the body is all JSON."""
    http_headers: bytes = b""
    """More header lines of its HTTP reply, each with its end."""


class _Plan(msgspec.Struct, frozen=True):
    """What a header means whose inputs are all in the binary tail."""

    inputs: InputPlan
    sizes: tuple[int, ...]
    """Bytes of each input in the tail, in the order of the request."""
    is_plain: bool
    """The tail is the one tensor, if it has its size."""
    outputs: tuple[OutputAsk, ...]
    parameters: Parameters


@lru_cache(maxsize=MAX_PLANS)
def header_length(text: bytes) -> int:
    """Read the value of a request's `Inference-Header-Content-Length`.

    Raises:
        InvalidArgumentError: It is not a 32-bit decimal number.
    """
    shown = text[:40].decode("latin-1")
    if not _DECIMAL.fullmatch(text):
        raise InvalidArgumentError(f"Unable to parse Inference-Header-Content-Length, got: {shown}")
    value = int(text) if len(text) <= _MAX_DIGITS else _INT32.stop
    if value not in _INT32:
        raise InvalidArgumentError(
            "Unable to parse Inference-Header-Content-Length, value is out of range "
            f"[ {_INT32.start}, {_INT32.stop - 1} ], got: {shown}"
        )
    return value


class V2JsonCodec:
    """Decodes and encodes the calls to one version; owns two small bounded caches.

    One per hosted version, used by one thread.
    """

    def __init__(
        self,
        spec: CallSpec,
        *,
        max_json_bytes: int = MAX_JSON_BYTES,
        regions: Regions = _NO_REGIONS,
    ) -> None:
        """Prepare for calls that must fit `spec`; longer JSON headers are refused unread."""
        self._spec = spec
        self._regions = regions
        self._checks = InputChecks(spec)
        self._outputs = OutputChecks(spec)
        self._reader = RequestReader(self._checks, self._outputs, max_json_bytes, regions)
        self._start = b'"model_name":%b,"model_version":"%d","outputs":[' % (
            orjson.dumps(spec.model),
            spec.version,
        )
        self._plans: dict[bytes, _Plan] = {}
        self._heads: dict[Any, _Head] = {}

    def decode_request(self, body: Buffer, header_length: int | None) -> InferCall:
        """Decode and check one request body (after decompression).

        Args:
            body: The whole body. Tensors of the call are views of it.
            header_length: Bytes of the JSON header; None when the body is all JSON; 0 for a raw
                request (the body is the one input of a one-input model).

        Raises:
            InvalidArgumentError: The body is malformed or does not fit the model.
            NotFoundError: It names a shared-memory region that is not registered.
        """
        if header_length is None:
            return self._decode_header(body, memoryview(b""))
        if not 0 < header_length <= len(body):
            if header_length == 0:
                return self._decode_raw(body)
            raise InvalidArgumentError(
                f"inference header size should be in range (0, {len(body)}), got: {header_length}"
            )
        header = bytes(body[:header_length])
        tail = memoryview(body)[header_length:]
        plan = self._plans.get(header)
        if plan is None:
            return self._decode_header(header, tail)
        if not plan.is_plain:
            tensors = self._checks.take_tensors(
                plan.inputs, self._reader.cut(tail, plan.sizes, plan.inputs.given), ""
            )
        elif len(tail) == plan.sizes[0]:
            tensors = (tail,)
        else:
            raise self._reader.tail_error(tail, plan.sizes, plan.inputs.given)
        inputs, parameters = plan.inputs, plan.parameters
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

    def _decode_header(self, header: Buffer, tail: memoryview) -> InferCall:
        read = self._reader.read(header, tail)
        inputs = self._checks.plan_inputs(read.given, read.id)
        data, region_bytes = read.data, read.region_bytes
        if region_bytes >= 0:
            data = self._checks.read_regions(inputs, data, read.id)
        tensors = self._checks.take_tensors(inputs, data, read.id)
        if read.sizes and not read.id and len(header) <= MAX_PLAN_HEADER_BYTES:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[bytes(header)] = _Plan(
                inputs, read.sizes, inputs.is_plain(), read.outputs, read.parameters
            )
        call = _call(read.id, inputs, tensors, read.outputs, read.parameters)
        return call if region_bytes <= 0 else replace(call, region_bytes=region_bytes)

    def _decode_raw(self, body: Buffer) -> InferCall:
        """Decode a request without JSON: the body is the one input, its shape follows from it."""
        given = raw_input(self._spec, len(body))
        data: Buffer = memoryview(body)
        if given.datatype is Datatype.BYTES:
            data = len(body).to_bytes(_LENGTH_BYTES, "little") + bytes(body)
        inputs = self._checks.plan_inputs([given], "")
        tensors = self._checks.take_tensors(inputs, [data], "")
        return _call("", inputs, tensors, self._outputs.all_outputs(binary=True), NONE)

    def encode_reply(self, call: InferCall, outputs: Sequence[Array]) -> JsonReply:
        """Encode the answer to a call.

        Args:
            call: What `decode_request` gave.
            outputs: One array per output of the *model*, in its order (asked for or not), with
                the rows of this call only. BYTES are object arrays of `str` or `bytes`.

        Raises:
            InvalidArgumentError: A BYTES output asked for as JSON is not UTF-8.
            EngineError: An array does not fit its declared datatype.
        """
        if call.id or call.flags:
            return self._encode(call, outputs)
        is_single = len(outputs) == len(call.outputs) == 1  # most are, and comprehensions cost
        shapes = outputs[0].shape if is_single else tuple([array.shape for array in outputs])
        key = (call.outputs, shapes)
        head = self._heads.get(key)
        if head is None:
            reply = self._encode(call, outputs)
            if has_constant_head(self._spec, call):
                if len(self._heads) >= MAX_HEADS:
                    self._heads.clear()
                sizes = tuple(map(len, reply.tail))
                self._heads[key] = _Head(reply.head, sizes, reply.header_length)
            return reply
        tail: tuple[Buffer, ...]
        if is_single:
            tail = (raw_bytes(outputs[0]),)
        else:
            tail = tuple([raw_bytes(outputs[ask.index]) for ask in call.outputs])
        if tuple(map(len, tail)) != head.sizes:
            raise EngineError("an output changed its element size between two calls")
        return JsonReply(head.text, tail, head.header_length)

    def _encode(self, call: InferCall, outputs: Sequence[Array]) -> JsonReply:
        tensors = reply_tensors(self._spec, call, outputs)
        tail: list[Buffer] = []
        entries: list[bytes] = []
        for tensor in tensors:
            if tensor.region is not None:
                write_to_region(tensor, tensor.region, self._regions)
                entries.append(_entry(tensor, b""))
            elif tensor.binary:
                tail.append(raw := tensor.raw())
                entries.append(_entry(tensor, b',"parameters":{"binary_data_size":%d}' % len(raw)))
            else:
                data = tensor_to_json(tensor.array, name=tensor.name)
                entries.append(_entry(tensor, b',"data":' + data))
        start = b'{"id":%b,' % orjson.dumps(call.id) if call.id else b"{"
        end = b"]}" if not call.flags else b'],"parameters":%b}' % orjson.dumps({FLAGS: call.flags})
        head = b"".join((start, self._start, b",".join(entries), end))
        return JsonReply(head, tuple(tail), len(head) if any(map(len, tail)) else None)


class _Head(msgspec.Struct, frozen=True):
    text: bytes
    sizes: tuple[int, ...]
    header_length: int | None


def _entry(tensor: ReplyTensor, rest: bytes) -> bytes:
    return b'{"name":%b,"datatype":"%b","shape":%b%b}' % (
        orjson.dumps(tensor.name),
        tensor.datatype.encode("ascii"),
        orjson.dumps(tensor.shape),
        rest,
    )


def _call(
    request_id: str,
    inputs: InputPlan,
    tensors: tuple[Any, ...],
    outputs: tuple[OutputAsk, ...],
    parameters: Parameters,
) -> InferCall:
    return InferCall(
        request_id,
        inputs.rows,
        inputs.shapes,
        inputs.stack_key,
        tensors,
        outputs,
        parameters.timeout_s,
        parameters.priority,
        parameters.custom,
    )
