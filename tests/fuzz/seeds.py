"""Valid requests of every kind, and the models that they are for."""

import gzip
import json
import zlib
from dataclasses import dataclass

import numpy as np

from runtimes.datatypes import DTYPES, Datatype
from serving.wire.call import Array, CallSpec
from serving.wire.v2_json import V2JsonCodec
from serving.wire.v2_proto import V2ProtoCodec
from tests.fakes.call_specs import TINY, http_body, identity, proto_request, spec, tensor

CLASSES = {"classification": 2, "binary_data": True}
CONTENTS = {
    "bool": "bool_contents",
    "int8": "int_contents",
    "int16": "int_contents",
    "int32": "int_contents",
    "int64": "int64_contents",
    "uint8": "uint_contents",
    "uint16": "uint_contents",
    "uint32": "uint_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "object": "bytes_contents",
}
OPTIONAL = spec(
    (tensor("x", Datatype.FP64, (-1,)), tensor("z", Datatype.BOOL, (2,), optional=True))
)


@dataclass(frozen=True, slots=True)
class Model:
    """A version, with codecs that keep what they have seen, as a worker's do."""

    spec: CallSpec
    json: V2JsonCodec
    proto: V2ProtoCodec


@dataclass(frozen=True, slots=True)
class Seed:
    """A valid request."""

    wire: str
    """`json`, `proto`, `frame` or `packed`."""
    model: int
    """Place in the list of models."""
    body: bytes
    header_length: int | None = None


def build_models() -> list[Model]:
    """Models of every datatype, and three of special forms."""
    specs = [identity(datatype, 2) for datatype in Datatype]
    specs += [TINY, identity(Datatype.FP32, 0), OPTIONAL]
    return [Model(each, V2JsonCodec(each), V2ProtoCodec(each)) for each in specs]


def build_seeds(models: list[Model]) -> list[Seed]:
    """Requests for each model over each wire."""
    seeds: list[Seed] = []
    for place, model in enumerate(models):
        arrays = {one.name: _example(one.datatype, one.shape) for one in model.spec.inputs}
        has_json = not {array.dtype.name for array in arrays.values()} & {"float16", "bfloat16"}
        for binary in (True, False) if has_json else (True,):
            sent = http_body(arrays, binary=binary)
            seeds.append(Seed("json", place, sent.body, sent.header_length))
        if has_json:
            header = json.loads(http_body(arrays, binary=False).body)
            named = [{"name": one.name, "parameters": CLASSES} for one in model.spec.outputs]
            more = {"id": "r", "outputs": named, "parameters": {"timeout": 5, "a": "b"}}
            seeds.append(Seed("json", place, json.dumps(header | more).encode()))
        message = proto_request(arrays, "r").SerializeToString()
        frame = b"\0" + len(message).to_bytes(4, "big") + message
        seeds.append(Seed("proto", place, message))
        seeds.extend(Seed("proto", place, typed) for typed in _typed(arrays))
        seeds.append(Seed("frame", place, frame))
        packed = (gzip.compress(message), zlib.compress(message))
        seeds.extend(Seed("packed", place, each) for each in packed)
    return seeds


def _typed(arrays: dict[str, Array]) -> list[bytes]:
    """The same request with typed contents, for datatypes that have them."""
    request = proto_request(arrays)
    del request.raw_input_contents[:]
    for given, array in zip(request.inputs, arrays.values(), strict=True):
        field = CONTENTS.get(array.dtype.name)
        if field is None:
            return []
        values = array.reshape(-1).tolist()
        getattr(given.contents, field).extend(
            [value.encode() if isinstance(value, str) else value for value in values]
        )
    return [request.SerializeToString()]


def _example(datatype: Datatype, shape: tuple[int, ...]) -> Array:
    full = [2 if dimension < 0 else dimension for dimension in shape]
    if datatype is Datatype.BYTES:
        array = np.empty(full, dtype=object)
        array.reshape(-1)[:] = [f"t{k}" for k in range(array.size)]
        return array
    return np.asarray(np.arange(int(np.prod(full))).reshape(full) % 2, DTYPES[datatype])
