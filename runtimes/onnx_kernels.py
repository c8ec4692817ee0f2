"""Which operators ONNX Runtime has no CPU kernel for, by datatype: asked of the engine itself.

No list of the installed build says so. A model of one node is what it refuses where the kernel is
missing; a session of that size takes a fraction of a millisecond. Models are written by hand, so
that a node can be probed without `onnx`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from runtimes.datatypes import Datatype
from runtimes.onnx_engine import onnxruntime
from runtimes.onnxrt import CPU_PROVIDER, LOAD_FAILURES, session_options

OPSET: Final = 20
IR_VERSION: Final = 9
NO_KERNEL: Final = "NOT_IMPLEMENTED"
# Numbers of TensorProto.DataType.
ELEMENT_TYPES: Final[Mapping[Datatype, int]] = MappingProxyType(
    {Datatype.BF16: 16, Datatype.FP64: 11, Datatype.INT64: 7, Datatype.INT32: 6}
)
FLOAT_OPERATORS: Final = (
    "Abs", "Add", "Conv", "Div", "Erf", "Exp", "Gelu", "Gemm", "LeakyRelu", "MatMul", "Max", "Min",
    "Mul", "Neg", "Pow", "ReduceMean", "Relu", "Sigmoid", "Softmax", "Sqrt", "Sub", "Tanh",
)  # fmt: skip
ASKED: Final[Mapping[Datatype, tuple[str, ...]]] = MappingProxyType(
    {
        Datatype.BF16: FLOAT_OPERATORS,
        Datatype.FP64: FLOAT_OPERATORS,
        Datatype.INT64: ("Gemm", "Relu"),
        Datatype.INT32: ("Gemm",),
    }
)
INPUT_COUNTS: Final[Mapping[str, int]] = MappingProxyType(
    dict.fromkeys(("Add", "Conv", "Div", "Gemm", "MatMul", "Max", "Min", "Mul", "Pow", "Sub"), 2)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One operator for one datatype."""

    operator: str
    datatype: Datatype

    def __str__(self) -> str:
        """Print as facts name it."""
        return f"{self.operator}:{self.datatype.value}"


def missing_cpu_kernels() -> frozenset[str]:
    """Return `Operator:DATATYPE` of what the installed engine has no CPU kernel for."""
    return frozenset(str(probe) for probe in _probes() if _is_missing(probe))


def _probes() -> Iterator[Probe]:
    for datatype, operators in ASKED.items():
        for operator in operators:
            yield Probe(operator=operator, datatype=datatype)


def _is_missing(probe: Probe) -> bool:
    try:
        onnxruntime.InferenceSession(
            one_node(probe), session_options(1), providers=[CPU_PROVIDER], enable_fallback=0
        )
    except LOAD_FAILURES as error:
        return NO_KERNEL in str(error)
    return False


def one_node(probe: Probe) -> bytes:
    """Return a ModelProto with one node: all tensors have 1 element in each of 2 or 4 dimensions.

    Fields: ModelProto 1 ir_version, 7 graph, 8 opset_import (2 version); GraphProto 1 node,
    2 name, 11 input, 12 output; NodeProto 1 input, 2 output, 4 op_type.
    """
    rank = 4 if probe.operator == "Conv" else 2
    names = [f"x{index}" for index in range(INPUT_COUNTS.get(probe.operator, 1))]
    node = b"".join(_part(1, name.encode()) for name in names)
    node += _part(2, b"y") + _part(4, probe.operator.encode())
    element = ELEMENT_TYPES[probe.datatype]
    graph = _part(1, node) + _part(2, b"g")
    graph += b"".join(_part(11, _value(name, element, rank)) for name in names)
    graph += _part(12, _value("y", element, rank))
    return bytes([0x08, IR_VERSION]) + _part(7, graph) + _part(8, bytes([0x10, OPSET]))


def _value(name: str, element: int, rank: int) -> bytes:
    """ValueInfoProto: 1 name, 2 type (1 tensor_type: 1 elem_type, 2 shape: 1 dim: 1 value)."""
    shape = _part(1, b"\x08\x01") * rank
    tensor = bytes([0x08, element]) + _part(2, shape)
    return _part(1, name.encode()) + _part(2, _part(1, tensor))


def _part(field: int, content: bytes) -> bytes:
    """A length-delimited field; its content has under 128 bytes, but for a graph of a few nodes."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])  # noqa: PLR2004  seven bits a byte
    return bytes([field << 3 | 2]) + length + content
