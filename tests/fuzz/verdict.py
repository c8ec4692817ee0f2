"""Judges one request: refused as the client's mistake, or read as another parser reads it."""

import json
from collections.abc import Callable
from math import prod
from typing import Any

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from protos.generated import open_inference_pb2 as pb
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import BasculeError
from serving.errors import WIRE
from serving.wire import coding, grpc_frame
from serving.wire.call import Array, InferCall
from serving.wire.v2_proto import read_target
from tests.fuzz.seeds import Model

MAX_INFLATED_BYTES = 1 << 20
CLIENT_ERRORS = range(400, 500)


class Wrong(Exception):  # noqa: N818  it is a verdict
    """The decoder did what it must not do."""


def judge(model: Model, wire: str, body: bytes, header_length: int | None) -> str:
    """Decode a request twice, since codecs remember forms; return `read` or the refusal's code.

    Raises:
        Wrong: Another exception than a client's error, or a result that is not what was sent.
    """
    first = _outcome(lambda: _decoded(model, wire, body, header_length))
    second = _outcome(lambda: _decoded(model, wire, body, header_length))
    if isinstance(first, str) or isinstance(second, str):
        if first != second:
            raise Wrong(f"first {first!r}, then {second!r}")
        return str(first)
    for call in (first, second):
        _check_sizes(model, call)
        if wire == "json":
            _compare_json(model, call, body, header_length)
        else:
            _compare_proto(model, call, _message(wire, body))
    return "read"


def _outcome(decode: Callable[[], InferCall]) -> InferCall | str:
    try:
        return decode()
    except BasculeError as error:
        status = WIRE[error.code].http
        is_plain = error.code == "unsupported"  # a second message: 501 on HTTP, never sent there
        if status not in CLIENT_ERRORS and not is_plain:
            raise Wrong(f"status {status}: {error.message}") from error
        if not error.message or "Traceback" in error.message:
            raise Wrong(f"a text that says nothing: {error.message!r}") from error
        return str(error.code)
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}") from error


def _decoded(model: Model, wire: str, body: bytes, header_length: int | None) -> InferCall:
    if wire == "json":
        return model.json.decode_request(body, header_length)
    message = _message(wire, body)
    read_target(message)
    return model.proto.decode_request(message)


def _message(wire: str, body: bytes) -> bytes | memoryview:
    if wire == "frame":
        return grpc_frame.deframe(body).message
    if wire == "packed":
        return coding.inflate(body, coding.packing_of(body) or "gzip", MAX_INFLATED_BYTES)
    return body


def _check_sizes(model: Model, call: InferCall) -> None:
    for given, shape, wanted in zip(call.tensors, call.shapes, model.spec.inputs, strict=True):
        if given is None and wanted.optional and shape is None:
            continue
        if wanted.datatype is Datatype.BYTES:
            is_right = given.shape == shape and {type(e) for e in given.reshape(-1)} <= {str}
        else:
            is_right = len(given) == prod(shape or ()) * DTYPES[wanted.datatype].itemsize
        if not is_right:
            raise Wrong(f"input '{wanted.name}' does not have its shape {shape}")


def _compare_proto(model: Model, call: InferCall, message: bytes | memoryview) -> None:
    try:
        request = pb.ModelInferRequest.FromString(bytes(message))
    except DecodeError:
        return  # it also judges fields that mean nothing here, as the model's name
    if request.id != call.id:
        raise Wrong(f"id {call.id!r} instead of {request.id!r}")
    if not request.raw_input_contents:
        return
    for given, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        _compare(model, call, given.name, raw)


def _compare_json(model: Model, call: InferCall, body: bytes, header_length: int | None) -> None:
    if header_length == 0:
        return
    header = body if header_length is None else body[:header_length]
    try:
        # A key that means nothing here is skipped, whatever bytes it has.
        tree = json.loads(header.decode("utf-8", "replace"))
    except ValueError as error:
        raise Wrong(f"no JSON for another parser: {error}") from error
    at = len(header)
    for given in tree["inputs"]:
        size = (given.get("parameters") or {}).get("binary_data_size")
        if size is not None:
            _compare(model, call, given["name"], body[at : at + size])
            at += size
        elif given.get("data") is not None:
            _compare(model, call, given["name"], _flat(given["data"]))


def _compare(model: Model, call: InferCall, name: str, sent: bytes | list[Any]) -> None:
    place = [tensor.name for tensor in model.spec.inputs].index(name)
    datatype, read = model.spec.inputs[place].datatype, call.tensors[place]
    if datatype is Datatype.BYTES:
        is_same = _strings(sent) == read.reshape(-1).tolist()
    elif isinstance(sent, bytes):
        is_same = bytes(read) == sent
    else:
        array: Array = np.frombuffer(read, DTYPES[datatype])
        with np.errstate(over="ignore"):
            expected = np.array(sent, DTYPES[datatype])
        is_same = np.array_equal(array, expected, equal_nan=datatype.startswith("FP"))
    if not is_same:
        raise Wrong(f"input '{name}' was not read as it was sent")


def _strings(sent: bytes | list[Any]) -> list[str]:
    if isinstance(sent, list):
        return sent
    found: list[str] = []
    while sent:
        size = int.from_bytes(sent[:4], "little")
        found.append(sent[4 : 4 + size].decode())
        sent = sent[4 + size :]
    return found


def _flat(data: Any) -> list[Any]:  # noqa: ANN401  JSON
    if not isinstance(data, list):
        return [data]
    return [leaf for item in data for leaf in _flat(item)]


def read_header(text: bytes) -> str:
    """Judge what parses single headers and admin bodies.

    Raises:
        Wrong: Another exception than a client's error.
    """
    for parse in (grpc_frame.timeout_s, _json_body):
        try:
            parse(text)
        except BasculeError:
            continue
        except Exception as error:
            raise Wrong(f"{parse.__name__}: {type(error).__name__}: {error}") from error
    return "headers"


def _json_body(text: bytes) -> None:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
