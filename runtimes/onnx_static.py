"""What an ONNX file says of itself, read without ONNX Runtime and without its weights.

Importing this module imports `onnx` (0.3 s): only who has such a file pays for it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, defs

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.model_facts import (
    ExternalData,
    OnnxModel,
    OperatorUse,
    UnreadableFile,
)
from runtimes.onnx_types import typed_operators
from runtimes.protobuf_slim import slim

DATATYPES: Final = MappingProxyType(
    {
        TensorProto.BOOL: Datatype.BOOL,
        TensorProto.UINT8: Datatype.UINT8,
        TensorProto.UINT16: Datatype.UINT16,
        TensorProto.UINT32: Datatype.UINT32,
        TensorProto.UINT64: Datatype.UINT64,
        TensorProto.INT8: Datatype.INT8,
        TensorProto.INT16: Datatype.INT16,
        TensorProto.INT32: Datatype.INT32,
        TensorProto.INT64: Datatype.INT64,
        TensorProto.FLOAT16: Datatype.FP16,
        TensorProto.BFLOAT16: Datatype.BF16,
        TensorProto.FLOAT: Datatype.FP32,
        TensorProto.DOUBLE: Datatype.FP64,
        TensorProto.STRING: Datatype.BYTES,
    }
)
BITS: Final = MappingProxyType(
    {
        **dict.fromkeys((TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT8), 8),
        **dict.fromkeys(
            (TensorProto.UINT16, TensorProto.INT16, TensorProto.FLOAT16, TensorProto.BFLOAT16), 16
        ),
        **dict.fromkeys((TensorProto.UINT32, TensorProto.INT32, TensorProto.FLOAT), 32),
        **dict.fromkeys(
            (TensorProto.UINT64, TensorProto.INT64, TensorProto.DOUBLE, TensorProto.COMPLEX64), 64
        ),
        TensorProto.COMPLEX128: 128,
        TensorProto.UINT4: 4,
        TensorProto.INT4: 4,
        TensorProto.FLOAT4E2M1: 4,
    }
)
MOST_BYTES: Final = 1 << 60
DEFAULT_BITS: Final = 8  # of what is younger than this table: the FP8 types
STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx.ml"})
OVERRIDABLE_SINCE_IR: Final = 4
"""Before it every initializer had to be listed as an input."""
MAX_DIMENSION: Final = (1 << 31) - 1


def read_onnx(file: Path) -> OnnxModel | UnreadableFile:
    """Read a file; what is no ONNX model comes back as such."""
    try:
        model, size_bytes = load_slim(file)
    except (ValueError, DecodeError) as error:
        return UnreadableFile(reason=_reason(str(error)))
    if not model.HasField("graph") or not model.opset_import:
        return UnreadableFile(reason="it is no ONNX model: it has no graph or no opset")
    return _facts(model, size_bytes)


def scalar_inputs(file: Path) -> frozenset[str]:
    """Return the inputs of which a model says that their rank is 0.

    Raises:
        ValueError: The file is no message, or is cut off.
        DecodeError: It is a message, and not that of a model.
    """
    model, _ = load_slim(file)
    return frozenset(
        item.name
        for item in model.graph.input
        if not _is_unranked(item) and not item.type.tensor_type.shape.dim
    )


def load_slim(file: Path) -> tuple[onnx.ModelProto, int]:
    """Return a file's message without its weights, and the file's size.

    Raises:
        ValueError: It is no message, or is cut off.
        DecodeError: It is a message, and not that of a model.
    """
    size_bytes = file.stat().st_size
    if size_bytes == 0:
        raise ValueError("it is empty")
    with file.open("rb") as stream:
        raw = slim(stream, size_bytes)
    model = onnx.ModelProto()
    model.ParseFromString(raw)
    return model, size_bytes


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Return how many bytes the elements of a tensor take; texts count as nothing."""
    if tensor.data_type == TensorProto.STRING:
        return 0
    return elements_bytes(tensor.dims, tensor.data_type)


def elements_bytes(dims: Iterable[int], data_type: int) -> int:
    """Return how many bytes elements take, or what no machine has, if a file claims more."""
    count = 1
    for dim in dims:
        if dim <= 0:
            return 0
        count = min(count * dim, MOST_BYTES)
    return min((count * BITS.get(data_type, DEFAULT_BITS) + 7) // 8, MOST_BYTES)


def _facts(model: onnx.ModelProto, size_bytes: int) -> OnnxModel:
    opsets = {_domain(item.domain): item.version for item in model.opset_import}
    functions = frozenset((_domain(item.domain), item.name) for item in model.functions)
    uses = Counter((_domain(node.domain), node.op_type) for node in _all_nodes(model))
    operators = tuple(
        OperatorUse(domain=domain, name=name, count=count)
        for (domain, name), count in uses.most_common()
    )
    tensors = list(_all_tensors(model))
    constant = {tensor.name for tensor in model.graph.initializer}
    is_overridable = model.ir_version >= OVERRIDABLE_SINCE_IR
    inputs = [
        (item, item.name in constant)
        for item in model.graph.input
        if item.name not in constant or is_overridable
    ]
    tensors_of = [*inputs, *((item, False) for item in model.graph.output)]
    return OnnxModel(
        ir_version=model.ir_version,
        opsets=MappingProxyType(opsets),
        operators=operators,
        unknown_operators=tuple(
            use
            for use in operators
            if _is_unknown(use, opsets) and (use.domain, use.name) not in functions
        ),
        local_functions=functions,
        inputs=tuple(_spec(item, is_optional=optional) for item, optional in inputs),
        outputs=tuple(_spec(item) for item in model.graph.output),
        unranked=frozenset(item.name for item, _ in tensors_of if _is_unranked(item)),
        unserved=MappingProxyType(
            {item.name: kind for item, _ in tensors_of if (kind := _unserved(item))}
        ),
        typed_operators=typed_operators(model, DATATYPES),
        weight_bytes=sum(tensor_bytes(tensor) for tensor in tensors),
        external=tuple(_external(tensors)),
        proto_bytes=size_bytes,
        producer=f"{model.producer_name} {model.producer_version}".strip()[:80],
    )


def _all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of a model: of its graph, of graphs in nodes, and of its functions."""
    waiting: list[Any] = [model.graph, *model.functions]
    while waiting:
        for node in waiting.pop().node:
            yield node
            waiting += [graph for one in node.attribute for graph in _graphs(one)]


def _all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a model: initializers, and what nodes carry with them."""
    waiting: list[Any] = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for attribute in (one for node in graph.node for one in node.attribute):
            yield from (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors)
            waiting += _graphs(attribute)


def _graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs]


def _external(tensors: Iterable[onnx.TensorProto]) -> Iterator[ExternalData]:
    for tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        values = {item.key: item.value for item in tensor.external_data}
        yield ExternalData(
            tensor=tensor.name,
            location=values.get("location", ""),
            offset=_number(values.get("offset", "0")),
            length=max(tensor_bytes(tensor), _number(values.get("length", "0"))),
        )


def _number(text: str) -> int:
    """Read what ONNX keeps as text; nonsense becomes -1, which lies in no file."""
    digits = text.strip()
    return int(digits[:19]) if digits.isascii() and digits.isdigit() else -1


def _is_unknown(use: OperatorUse, opsets: dict[str, int]) -> bool:
    if use.domain not in STANDARD_DOMAINS:
        return False
    opset = opsets.get(use.domain)
    if opset is None:
        return True
    newest = defs.onnx_opset_version() if use.domain == "" else opset
    try:
        defs.get_schema(use.name, min(opset, newest), use.domain)
    except defs.SchemaError:
        return True
    return False


def _spec(item: onnx.ValueInfoProto, *, is_optional: bool = False) -> TensorSpec:
    """Read a spec as ONNX Runtime shows it: an unknown rank is rank 0."""
    tensor = item.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") and 0 <= dim.dim_value <= MAX_DIMENSION else -1
        for dim in tensor.shape.dim
    )
    datatype = DATATYPES.get(tensor.elem_type, Datatype.FP32)
    return TensorSpec(name=item.name, datatype=datatype, shape=shape, optional=is_optional)


def _is_unranked(item: onnx.ValueInfoProto) -> bool:
    return not item.type.tensor_type.HasField("shape")


def _unserved(item: onnx.ValueInfoProto) -> str:
    """Return what an input or output is, where it is no plain tensor."""
    kind = item.type.WhichOneof("value")
    if kind != "tensor_type":
        return f"a {(kind or 'value without a type').removesuffix('_type')}"
    element = item.type.tensor_type.elem_type
    if element in DATATYPES:
        return ""
    known = element in TensorProto.DataType.values()
    return f"a tensor of {TensorProto.DataType.Name(element) if known else element}"


def _domain(text: str) -> str:
    return "" if text == "ai.onnx" else text


def _reason(text: str) -> str:
    return text if text.startswith("it ") else "it is cut off or no ONNX model"
