"""Which datatypes the operators of an ONNX graph work on, as far as the file says so.

Types come from inputs, constants, recorded values and casts, and pass through operators whose
output has the type of their first input. What cannot be known this way is left out: nothing is
guessed. Imports `onnx`.
"""

from collections.abc import Mapping
from typing import Any, Final

import onnx

from runtimes.datatypes import Datatype

_KEEPING: Final = """
Abs Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose Div Dropout Elu Erf Exp Expand
Flatten Gather Gelu Gemm GlobalAveragePool Identity LayerNormalization LeakyRelu MatMul Max MaxPool
Min Mul Neg Pad Pow ReduceMax ReduceMean ReduceSum Relu Reshape Resize Sigmoid Slice Softmax Sqrt
Squeeze Sub Tanh Transpose Unsqueeze
"""
KEEPS_TYPE: Final = frozenset(_KEEPING.split())
"""Operators whose output has the type of their first input."""


def typed_operators(
    model: onnx.ModelProto, datatypes: Mapping[int, Datatype]
) -> frozenset[tuple[str, Datatype]]:
    """Return operator and datatype of the first input of each node of the main graph.

    Args:
        model: The model; its weights' bytes are not looked at.
        datatypes: What the numbers of TensorProto.DataType stand for.
    """
    graph = model.graph
    types: dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for item in (*graph.input, *graph.value_info, *graph.output):
        types[item.name] = item.type.tensor_type.elem_type
    found = set()
    for node in graph.node:
        first = types.get(node.input[0], 0) if node.input else 0
        if node.domain in {"", "ai.onnx"} and first in datatypes:
            found.add((node.op_type, datatypes[first]))
        given = _output_type(node, first)
        if given and node.output:
            types.setdefault(node.output[0], given)
    return frozenset(found)


def _output_type(node: Any, first: int) -> int:  # noqa: ANN401  a message of onnx
    attributes = {one.name: one for one in node.attribute}
    if node.op_type == "Cast" and "to" in attributes:
        return int(attributes["to"].i)
    if node.op_type == "Constant" and "value" in attributes:
        return int(attributes["value"].t.data_type)
    return first if node.op_type in KEEPS_TYPE else 0
