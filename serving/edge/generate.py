"""Pure: the flat JSON of `generate` ↔ an infer call and its reply (Triton's generate extension).

::

    {"id": "42", "text": "hi", "parameters": {"top": 3}}      inputs by their names, all else are
      │ into_infer                                            parameters; `parameters` is no level
      ▼                                                       of its own
    {"id": "42", "parameters": {"top": 3}, "inputs": [{"name": "text", "datatype": "BYTES",
      │ infer, through the edge                "shape": [1, 1], "data": ["hi"]}]}
      ▼
    {"id": "42", "model_name": "m", "model_version": "1", "outputs": [{"name": "answer", …}]}
      │ from_infer
      ▼
    {"id": "42", "model_name": "m", "model_version": "1", "answer": "hello"}
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError, UnsupportedError

BINARY: Final = "binary_data_output"
MAX_LOOSE_BYTES: Final = 1 << 20
"""Of a reply whose numbers have to be read: the loop stands still meanwhile."""

Json = Mapping[str, object]


def into_infer(asked: Json, inputs: Sequence[TensorSpec]) -> dict[str, object]:
    """Write the infer request.

    Args:
        asked: The body of the call.
        inputs: What the model takes.

    Raises:
        InvalidArgumentError: A value does not fit its input's shape, or the reply is wanted as
            bytes.
    """
    specs = {spec.name: spec for spec in inputs}
    tensors: list[dict[str, object]] = []
    parameters: dict[str, object] = {}
    for name, value in _flat(asked):
        spec = specs.get(name)
        if spec is not None:
            tensors.append(_tensor(spec, value))
        elif name == BINARY and value is True:
            raise InvalidArgumentError(
                f"parameter '{BINARY}' is true, and generate answers as JSON: leave it out, or "
                "call infer"
            )
        else:
            parameters[name] = value
    infer: dict[str, object] = {"inputs": tensors}
    if "id" in asked:
        infer["id"] = asked["id"]
    if parameters:
        infer["parameters"] = parameters
    return infer


class _Output(msgspec.Struct):
    name: str
    shape: tuple[int, ...]
    data: msgspec.Raw


class _Reply(msgspec.Struct):
    id: str | None = None
    model_name: str = ""
    model_version: str = ""
    parameters: dict[str, object] = {}
    outputs: list[_Output] = []


def from_infer(reply: bytes) -> bytes:
    """Write the flat reply: one element stands bare, several are a flat list.

    Elements are copied as they stand: to read and write three million kept the front desk's loop,
    and all that it answers, for a second.

    Raises:
        UnsupportedError: NaN or infinities are among more than `MAX_LOOSE_BYTES`.
    """
    try:
        whole = msgspec.json.decode(reply, type=_Reply)
    except msgspec.DecodeError:  # as JSON has no NaN and no infinities
        return _from_loose(reply)
    flat: dict[str, object] = {} if whole.id is None else {"id": whole.id}
    flat |= {"model_name": whole.model_name, "model_version": whole.model_version}
    flat |= whole.parameters
    for output in whole.outputs:
        is_one = math.prod(output.shape) == 1
        flat[output.name] = _only(output.data) if is_one else output.data
    return msgspec.json.encode(flat)


def _only(data: msgspec.Raw) -> msgspec.Raw:
    return msgspec.json.decode(data, type=tuple[msgspec.Raw])[0]


def _from_loose(reply: bytes) -> bytes:
    """Do the same by the standard library's parser, which knows NaN and the infinities."""
    if len(reply) > MAX_LOOSE_BYTES:
        raise UnsupportedError(
            f"generate: the answer has NaN or Infinity, and {len(reply)} bytes of JSON, more than "
            f"{MAX_LOOSE_BYTES}: call infer"
        )
    whole = json.loads(reply)
    flat = {name: whole[name] for name in ("id", "model_name", "model_version") if name in whole}
    flat |= whole.get("parameters", {})
    for output in whole["outputs"]:
        data = output["data"]
        flat[output["name"]] = data[0] if len(data) == 1 else data
    return json.dumps(flat, separators=(",", ":")).encode()


def _flat(asked: Json) -> Iterator[tuple[str, object]]:
    for name, value in asked.items():
        if name == "parameters" and isinstance(value, dict):
            yield from value.items()
        elif name != "id":
            yield name, value


def _tensor(spec: TensorSpec, value: object) -> dict[str, object]:
    data = value if isinstance(value, list) else [value]
    shape = fitting_shape(spec, len(data))
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": shape, "data": data}


def fitting_shape(spec: TensorSpec, count: int) -> list[int]:
    """Return the shape for so many elements: the innermost free dimension takes what is left.

    Raises:
        InvalidArgumentError: There is none.
    """
    fixed = math.prod(size for size in spec.shape if size != -1)
    rest, over = divmod(count, fixed) if fixed else (0, count)
    shape: list[int] = []
    for size in reversed(spec.shape):
        shape.append(rest if size == -1 else size)
        rest = 1 if size == -1 else rest
    if over or (rest != 1 and fixed):
        raise InvalidArgumentError(
            f"input '{spec.name}' got {count} elements, which fit no shape of "
            f"{list(spec.shape)}: send a scalar or a flat list of the right length"
        )
    return shape[::-1]
