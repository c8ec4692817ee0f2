"""A small client of the protocol over HTTP: metadata, and infer with binary tensors."""

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec
import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import BasculeError, EngineError
from serving.cli.predict_tensors import NamedTensor
from serving.errors import NotReadyError
from serving.host_port import HostPort
from serving.registry.nearest import nearest
from serving.wire.tensors import decode_strings, encode_strings, raw_bytes

T = TypeVar("T")
INDEX: Final = "/v2/repository/index"
HEADER_LENGTH: Final = "Inference-Header-Content-Length"


class RefusedPredictionError(BasculeError):
    """The server refused the call; the message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a model takes."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    versions: tuple[str, ...]
    """Those that are ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A reply."""

    model: str
    version: str
    outputs: tuple[NamedTensor, ...]


class HttpClient:
    """Calls one server; one connection, kept."""

    def __init__(self, address: HostPort, limit_s: float) -> None:
        """Remember the address; nothing is connected yet."""
        self._address = address
        self._connection = http.client.HTTPConnection(address.host, address.port, timeout=limit_s)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def metadata(self, model: str, version: int | None) -> Metadata:
        """Ask for a model's inputs and outputs.

        Raises:
            NotReadyError: Nobody answers at the address.
            RefusedPredictionError: The server does not have the model, or it is not ready.
        """
        try:
            reply = self._ask("GET", model_path(model, version), b"", {})
        except RefusedPredictionError as error:
            raise RefusedPredictionError(error.message + self._others(model)) from error
        found = self._understood(reply, _Metadata)
        return Metadata(
            inputs=tuple(item.spec() for item in found.inputs),
            outputs=tuple(item.spec() for item in found.outputs),
            versions=tuple(found.versions),
        )

    def _others(self, model: str) -> str:
        """Name the model that was meant, or those that there are; nothing if it is there itself."""
        try:
            listed = self._understood(self._ask("POST", INDEX, b"{}", {}), list[_Listed])
        except BasculeError:  # a server without an index
            return ""
        names = sorted({one.name for one in listed})
        if model in names or not names:
            return ""
        return f"; {nearest(model, names)}"

    def infer(self, model: str, version: int | None, tensors: Sequence[NamedTensor]) -> Prediction:
        """Run one call.

        Raises:
            NotReadyError: Nobody answers at the address, or not in time.
            RefusedPredictionError: The server refused the call.
            EngineError: The reply cannot be read.
        """
        asked = infer_body(tensors, {})
        path = f"{model_path(model, version)}/infer"
        reply = self._ask("POST", path, asked.content, infer_headers(asked))
        return read_prediction(reply)

    def post_labels(self, model: str, version: int | None, labels: bytes) -> int:
        """Post labels; return how many outputs of rows were labelled by them.

        Raises:
            NotReadyError: Nobody answers at the address, or not in time.
            RefusedPredictionError: The server refused them.
        """
        path = f"{model_path(model, version)}/labels"
        reply = self._ask("POST", path, labels, {"Content-Type": "application/json"})
        return self._understood(reply, _Kept).labels

    def _understood(self, reply: "Body", kind: type[T]) -> T:
        try:
            return msgspec.json.decode(reply.content, type=kind)
        except msgspec.MsgspecError as error:
            raise RefusedPredictionError(
                f"what answers at {self._address} does not speak the Open Inference Protocol "
                f"({error}): is another program listening there? (--url HOST:PORT asks another one)"
            ) from error

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> "Body":
        try:
            is_sent = self._send(method, path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NotReadyError(
                f"{method} {path} at {self._address}: {type(error).__name__}: {error}: is an "
                "instance running there? (bascule status; --url HOST:PORT asks another one)"
            ) from error
        if not is_sent:
            self._connection.close()
        if response.status != http.client.OK:
            raise RefusedPredictionError(refusal_text(content, response.status))
        return read_body(content, response.headers.get(HEADER_LENGTH))

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bool:
        """Send a request; False: the server wanted no more of it, and may have said why."""
        try:
            self._connection.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            if self._connection.sock is None:  # it was not even connected
                raise
            return False
        return True


@dataclass(frozen=True, slots=True)
class Body:
    """What an infer call or its reply carries: JSON, and binary tensors behind it."""

    content: bytes
    head_bytes: int
    """Of the JSON."""


def infer_body(tensors: Sequence[NamedTensor], parameters: Mapping[str, object]) -> Body:
    """Write an infer call with binary tensors in both directions.

    Args:
        tensors: The inputs.
        parameters: Of the call, as `sequence_id`.
    """
    raws = [tensor_bytes(tensor) for tensor in tensors]
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype.value,
            "shape": list(tensor.array.shape),
            "parameters": {"binary_data_size": len(raw)},
        }
        for tensor, raw in zip(tensors, raws, strict=True)
    ]
    asked = {"inputs": inputs, "parameters": {"binary_data_output": True, **parameters}}
    head = json.dumps(asked).encode()
    return Body(b"".join((head, *raws)), len(head))


def infer_headers(body: Body) -> dict[str, str]:
    """Return the headers that an infer call needs."""
    return {
        HEADER_LENGTH: str(body.head_bytes),
        "Content-Type": "application/octet-stream",
    }


def read_body(content: bytes, head_length: str | None) -> Body:
    """Cut a reply where its header says that the JSON ends; without it, all is JSON."""
    return Body(content, len(content) if head_length is None else int(head_length))


def tensor_bytes(tensor: NamedTensor) -> bytes:
    """Return a tensor's elements as the wire carries them."""
    if tensor.datatype is Datatype.BYTES:
        return encode_strings(tensor.array)
    return bytes(raw_bytes(np.ascontiguousarray(tensor.array)))


def tensor_from_bytes(raw: bytes, name: str, datatype: Datatype, shape: tuple[int, ...]) -> Array:
    """Return the array that the wire's bytes stand for.

    Raises:
        EngineError: They are too many or too few.
    """
    if datatype is Datatype.BYTES:
        return decode_strings(raw, shape, name=name, model="reply")
    try:
        return np.frombuffer(raw, dtype=DTYPES[datatype]).reshape(shape)
    except ValueError as error:
        raise EngineError(f"output '{name}' of the reply cannot be read: {error}") from error


class _Listed(msgspec.Struct, frozen=True):
    name: str


class _Kept(msgspec.Struct, frozen=True):
    labels: int


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    datatype: Datatype
    shape: list[int]
    data: list[object] | None = None
    parameters: dict[str, object] = {}

    def spec(self) -> TensorSpec:
        """Return the tensor's spec."""
        return TensorSpec(name=self.name, datatype=self.datatype, shape=tuple(self.shape))


class _Metadata(msgspec.Struct, frozen=True):
    inputs: list[_Tensor]
    outputs: list[_Tensor]
    versions: list[str] = []


class _Inferred(msgspec.Struct, frozen=True):
    model_name: str
    outputs: list[_Tensor]
    model_version: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    error: str


def model_path(model: str, version: int | None) -> str:
    """Return where a model, or one version of it, is asked for."""
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


def refusal_text(content: bytes, status: int) -> str:
    """Return why a call was refused, in the server's words."""
    try:
        return msgspec.json.decode(content, type=_Refusal).error
    except msgspec.DecodeError:
        return f"the server answered with status {status}: {content[:200].decode(errors='replace')}"


def read_prediction(reply: Body) -> Prediction:
    """Read the reply to an infer call.

    Raises:
        EngineError: It cannot be read.
    """
    # json.loads: unlike msgspec it reads NaN and Infinity, which the protocol's replies may hold.
    found = msgspec.convert(json.loads(reply.content[: reply.head_bytes]), _Inferred)
    outputs = []
    at = reply.head_bytes
    for item in found.outputs:
        shape = tuple(item.shape)
        size = item.parameters.get("binary_data_size")
        if isinstance(size, int):
            array = tensor_from_bytes(
                reply.content[at : at + size], item.name, item.datatype, shape
            )
            at += size
        else:
            array = np.asarray(item.data, dtype=DTYPES[item.datatype]).reshape(shape)
        outputs.append(NamedTensor(name=item.name, datatype=item.datatype, array=array))
    return Prediction(model=found.model_name, version=found.model_version, outputs=tuple(outputs))
