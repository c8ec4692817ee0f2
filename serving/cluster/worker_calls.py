"""Predictions for other Ray code: arrays to a worker's socket and back, as binary tensors.

For pipelines of actors, where a call costs milliseconds anyway; traffic goes through the edge.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
import numpy as np

from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import WIRE, NotFoundError, NotReadyError, QueueFullError
from serving.wire.call import Array
from serving.wire.tensors import decode_strings, encode_strings

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
CALL_LIMIT_S: Final = 300.0
DATATYPE_OF: Final = MappingProxyType({dtype: name for name, dtype in DTYPES.items()})
TEXT_KINDS: Final = frozenset("OSU")


class _Parameters(msgspec.Struct):
    binary_data_size: int = 0


class _Output(msgspec.Struct):
    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Reply(msgspec.Struct):
    outputs: tuple[_Output, ...]


class _Refusal(msgspec.Struct):
    error: str = ""


def encode_call(inputs: Mapping[str, Array]) -> tuple[bytes, int]:
    """Write a request that asks for binary outputs; return its body and its header's length.

    Raises:
        InvalidArgumentError: An array's dtype has no counterpart in the protocol.
    """
    described: list[dict[str, object]] = []
    tail: list[bytes] = []
    for name, array in inputs.items():
        datatype, raw = _encode(name, np.asarray(array))
        tail.append(raw)
        described.append(
            {
                "name": name,
                "datatype": datatype,
                "shape": array.shape,
                "parameters": {"binary_data_size": len(raw)},
            }
        )
    header = msgspec.json.encode({"inputs": described, "parameters": {"binary_data_output": True}})
    return b"".join((header, *tail)), len(header)


def decode_reply(body: bytes, header_length: int) -> dict[str, Array]:
    """Read the outputs of a reply whose tensors are all binary."""
    reply = msgspec.json.decode(body[:header_length], type=_Reply)
    outputs: dict[str, Array] = {}
    at = header_length
    for output in reply.outputs:
        raw = body[at : at + output.parameters.binary_data_size]
        at += len(raw)
        if output.datatype is Datatype.BYTES:
            outputs[output.name] = decode_strings(
                raw, output.shape, name=output.name, model="the reply"
            )
        else:
            flat = np.frombuffer(raw, DTYPES[output.datatype])
            outputs[output.name] = flat.reshape(output.shape)
    return outputs


async def call_worker(
    session: aiohttp.ClientSession, model: str, inputs: Mapping[str, Array], version: int | None
) -> dict[str, Array]:
    """Run one prediction.

    Args:
        session: Connected to the worker's unix socket.
        model: The model's name.
        inputs: An array for each input.
        version: None for the highest that the worker hosts.

    Raises:
        BasculeError: The worker refused, in its own words, or is not there.
    """
    body, length = encode_call(inputs)
    path = f"/v2/models/{quote(model, safe='')}"
    path += f"/versions/{version}/infer" if version is not None else "/infer"
    limit = aiohttp.ClientTimeout(total=CALL_LIMIT_S)
    try:
        async with session.post(
            f"http://worker{path}", data=body, headers={HEADER_LENGTH: str(length)}, timeout=limit
        ) as response:
            reply = await response.read()
            if response.status != 200:  # noqa: PLR2004  HTTP's OK
                raise _refusal(response.status, reply)
            return decode_reply(reply, int(response.headers.get(HEADER_LENGTH, len(reply))))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NotReadyError(f"the worker did not answer: {type(error).__name__}") from error


def _encode(name: str, array: Array) -> tuple[str, bytes]:
    if array.dtype.kind in TEXT_KINDS:
        return Datatype.BYTES, encode_strings(array.astype(object))
    datatype = DATATYPE_OF.get(array.dtype.newbyteorder("<"))
    if datatype is None:
        raise InvalidArgumentError(
            f"input '{name}' has dtype {array.dtype}, which the protocol does not know: "
            f"convert it to one of {', '.join(Datatype)}"
        )
    return datatype, np.ascontiguousarray(array, DTYPES[datatype]).tobytes()


def _refusal(status: int, body: bytes) -> BasculeError:
    try:
        text = msgspec.json.decode(body, type=_Refusal).error
    except msgspec.DecodeError:
        text = body[:500].decode(errors="replace")
    for kind in (InvalidArgumentError, NotFoundError, QueueFullError):
        if WIRE[kind.code].http == status:
            return kind(text)
    return BasculeError(text)
