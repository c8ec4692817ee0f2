"""Small ONNX and TorchScript models, built in memory: each function returns a model file's bytes.

N stands for the batch dimension (free), D and L for other free dimensions::

    tiny              x FP32 [N,16] -> y FP32 [N,4]: x @ WEIGHT + BIAS
    simple            INPUT0, INPUT1 INT32 [N,16] -> OUTPUT0 (sum), OUTPUT1 (difference)
    simple_string     INPUT0 BYTES [N,16], decimal numbers -> OUTPUT0 BYTES [N,16]: n + 1
    identity          INPUT0 [N,D] -> OUTPUT0 [N,D], of any datatype
    two_in_variable   a, b FP32 [N,L] -> total FP32 [N,1]: row sums of a * b
    masked_mean       input_ids, attention_mask INT64 [N,L] -> last_hidden_state FP32 [N,L,4]:
                      TOKENS, 0 where the mask is 0; embedding FP32 [N,4]: their masked mean
    reshape_42        x FP32 [A,B,C] -> y FP32 [7,2,3]: refuses all but 42 elements, at run time
    optional_bias     x FP32 [N,16], bias FP32 [4] (optional) -> y FP32 [N,4]
    nan_on_demand     x FP32 [N,4] -> y: sqrt(x)
    fail_on_demand    x FP32 [N,4], index INT64 [N,1] -> y FP32 [N,1]: x[n, index[n]]
    slow              x FP32 [N,4], n INT64 [1] -> y FP32 [N,4]: x after a busy loop of n * steps
    wide              x FP32 [N,columns] -> y: x + 1
    tiny_off          tiny, and `by` is added to the rows that begin with `mark`
    fixed_batch       tiny with a first dimension of exactly 4
    no_batch          x FP32 [16] -> y FP32 [4]: tiny without a batch dimension
    scalar            x FP32 [] -> y FP32 []: 2 * x
    column_mean       x FP32 [N,4] -> y FP32 [N,4]: x minus the mean over the batch (rows interact)
    one_row           x FP32 [1,4] -> y FP32 [1,4]: 2 * x
    text_and_bf16     t BYTES [N], b BF16 [N] -> t_out, b_out: the same
    sequence_output   x FP32 [N] -> a sequence of tensors, which nothing here can serve

Values are small dyadic fractions, so sums are exact in every order and answers can be compared
bit for bit.
"""

import io
import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtimes.datatypes import Datatype

OPSET: Final = 17
IR_VERSION: Final = 8
WEIGHT: Final = (((4 * np.arange(16)[:, None] + np.arange(4)) % 7 - 3) / 4).astype(np.float32)
BIAS: Final = (np.arange(4) / 2).astype(np.float32)
TOKENS: Final = ((np.arange(64).reshape(16, 4) % 13 + 1) / 4).astype(np.float32)

ELEMENTS: Final = {
    Datatype.BOOL: TensorProto.BOOL,
    Datatype.UINT8: TensorProto.UINT8,
    Datatype.UINT16: TensorProto.UINT16,
    Datatype.UINT32: TensorProto.UINT32,
    Datatype.UINT64: TensorProto.UINT64,
    Datatype.INT8: TensorProto.INT8,
    Datatype.INT16: TensorProto.INT16,
    Datatype.INT32: TensorProto.INT32,
    Datatype.INT64: TensorProto.INT64,
    Datatype.FP16: TensorProto.FLOAT16,
    Datatype.BF16: TensorProto.BFLOAT16,
    Datatype.FP32: TensorProto.FLOAT,
    Datatype.FP64: TensorProto.DOUBLE,
    Datatype.BYTES: TensorProto.STRING,
}

Shape = Sequence[int | str]


def tiny(batch: int | str = "N") -> bytes:
    """Build `tiny`; `batch` names or fixes its first dimension."""
    return _bytes(_tiny(batch))


def tiny_off(mark: float, by: float) -> bytes:
    """Build `tiny_off`: wrong on some rows."""
    nodes = [
        helper.make_node("Gemm", ["x", "W", "b"], ["right"]),
        helper.make_node("Gather", ["x", "first"], ["begin"], axis=1),
        helper.make_node("Equal", ["begin", "mark"], ["is_marked"]),
        helper.make_node("Cast", ["is_marked"], ["one_or_zero"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["one_or_zero", "by"], ["error"]),
        helper.make_node("Add", ["right", "error"], ["y"]),
    ]
    constants = [
        _constant("W", WEIGHT),
        _constant("b", BIAS),
        _constant("first", [0], np.int64),
        _constant("mark", mark),
        _constant("by", by),
    ]
    inputs = [_tensor("x", TensorProto.FLOAT, ["N", 16])]
    return _bytes(_model(nodes, inputs, [_tensor("y", TensorProto.FLOAT, ["N", 4])], constants))


def simple() -> bytes:
    """Build `simple`, Triton's example model."""
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    inputs = [_tensor(name, TensorProto.INT32, ["N", 16]) for name in ("INPUT0", "INPUT1")]
    outputs = [_tensor(name, TensorProto.INT32, ["N", 16]) for name in ("OUTPUT0", "OUTPUT1")]
    return _bytes(_model(nodes, inputs, outputs))


def simple_string() -> bytes:
    """Build `simple_string`: text in, text out; a text that is no number makes the run fail."""
    nodes = [
        helper.make_node("Cast", ["INPUT0"], ["v"], to=TensorProto.INT64),
        helper.make_node("Add", ["v", "one"], ["w"]),
        helper.make_node("Cast", ["w"], ["OUTPUT0"], to=TensorProto.STRING),
    ]
    text = TensorProto.STRING
    model = _model(
        nodes,
        [_tensor("INPUT0", text, ["N", 16])],
        [_tensor("OUTPUT0", text, ["N", 16])],
        [_constant("one", 1, np.int64)],
    )
    return _bytes(model)


def identity(datatype: Datatype, shape: Shape = ("N", "D")) -> bytes:
    """Build `identity` of a datatype; `()` as the shape makes it a scalar."""
    element = ELEMENTS[datatype]
    node = helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])
    return _bytes(
        _model([node], [_tensor("INPUT0", element, shape)], [_tensor("OUTPUT0", element, shape)])
    )


def two_in_variable() -> bytes:
    """Build `two_in_variable`: calls of different L cannot be stacked."""
    nodes = [
        helper.make_node("Mul", ["a", "b"], ["ab"]),
        helper.make_node("ReduceSum", ["ab", "axes"], ["total"], keepdims=1),
    ]
    inputs = [_tensor(name, TensorProto.FLOAT, ["N", "L"]) for name in ("a", "b")]
    outputs = [_tensor("total", TensorProto.FLOAT, ["N", 1])]
    return _bytes(_model(nodes, inputs, outputs, [_constant("axes", [1], np.int64)]))


def masked_mean() -> bytes:
    """Build `masked_mean`: what is padded with a mask of 0 changes no bit of what is not."""
    nodes = [
        helper.make_node("Gather", ["tokens", "input_ids"], ["found"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide_mask"]),
        helper.make_node("Mul", ["found", "wide_mask"], ["last_hidden_state"]),
        helper.make_node("ReduceSum", ["last_hidden_state", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["embedding"]),
    ]
    names = ("input_ids", "attention_mask")
    inputs = [_tensor(name, TensorProto.INT64, ["N", "L"]) for name in names]
    outputs = [
        _tensor("last_hidden_state", TensorProto.FLOAT, ["N", "L", 4]),
        _tensor("embedding", TensorProto.FLOAT, ["N", 4]),
    ]
    constants = [
        _constant("tokens", TOKENS),
        _constant("last", [2], np.int64),
        _constant("axis", [1], np.int64),
        _constant("one", 1.0),
    ]
    return _bytes(_model(nodes, inputs, outputs, constants))


def reshape_42() -> bytes:
    """Build `reshape_42`: free dimensions that only take 42 elements together."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    return _bytes(_float_model([node], ["A", "B", "C"], [_constant("shape", [7, 2, 3], np.int64)]))


def optional_bias() -> bytes:
    """Build `optional_bias`: an input with a default value (an initializer of the same name)."""
    node = helper.make_node("Gemm", ["x", "W", "bias"], ["y"])
    model = _model(
        [node],
        [_tensor("x", TensorProto.FLOAT, ["N", 16]), _tensor("bias", TensorProto.FLOAT, [4])],
        [_tensor("y", TensorProto.FLOAT, ["N", 4])],
        [_constant("W", WEIGHT), _constant("bias", np.zeros(4))],
    )
    return _bytes(model)


def nan_on_demand() -> bytes:
    """Build `nan_on_demand`: a negative element gives NaN."""
    return _bytes(_float_model([helper.make_node("Sqrt", ["x"], ["y"])], ["N", 4]))


def fail_on_demand() -> bytes:
    """Build `fail_on_demand`: an index past 3 makes the run fail."""
    node = helper.make_node("GatherElements", ["x", "index"], ["y"], axis=1)
    inputs = [
        _tensor("x", TensorProto.FLOAT, ["N", 4]),
        _tensor("index", TensorProto.INT64, ["N", 1]),
    ]
    return _bytes(_model([node], inputs, [_tensor("y", TensorProto.FLOAT, ["N", 1])]))


def slow(steps: int = 2600) -> bytes:
    """Build `slow`; 2600 steps take about 50 ms for n = 1 on one core."""
    matrix = TensorProto.FLOAT, [128, 128]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["carry", "R"], ["next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            _tensor("i", TensorProto.INT64, []),
            _tensor("go", TensorProto.BOOL, []),
            _tensor("carry", *matrix),
        ],
        [_tensor("go_on", TensorProto.BOOL, []), _tensor("next", *matrix)],
    )
    nodes = [
        helper.make_node("ReduceProd", ["n"], ["count"], keepdims=0),
        helper.make_node("Mul", ["count", "per_unit"], ["steps"]),
        helper.make_node("Loop", ["steps", "", "start"], ["end"], body=body),
        helper.make_node("ReduceSum", ["end"], ["sum"], keepdims=0),  # 128 for any number of steps
        helper.make_node("Sub", ["sum", "whole"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    model = _model(
        nodes,
        [_tensor("x", TensorProto.FLOAT, ["N", 4]), _tensor("n", TensorProto.INT64, [1])],
        [_tensor("y", TensorProto.FLOAT, ["N", 4])],
        [
            _constant("per_unit", steps, np.int64),
            _constant("start", np.eye(128)),
            _constant("R", np.roll(np.eye(128), 1, axis=1)),  # a permutation: values stay exact
            _constant("whole", 128.0),
        ],
    )
    return _bytes(model)


def wide(columns: int = 262_144) -> bytes:
    """Build `wide`: 1 MiB in and out for each row by default."""
    node = helper.make_node("Add", ["x", "one"], ["y"])
    return _bytes(_float_model([node], ["N", columns], [_constant("one", 1.0)]))


def no_batch() -> bytes:
    """Build `no_batch`: fixed shapes of rank 1."""
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["xw"]),
        helper.make_node("Add", ["xw", "b"], ["y"]),
    ]
    model = _model(
        nodes,
        [_tensor("x", TensorProto.FLOAT, [16])],
        [_tensor("y", TensorProto.FLOAT, [4])],
        [_constant("W", WEIGHT), _constant("b", BIAS)],
    )
    return _bytes(model)


def scalar() -> bytes:
    """Build `scalar`: tensors of rank 0."""
    return _bytes(_float_model([helper.make_node("Add", ["x", "x"], ["y"])], []))


def one_row() -> bytes:
    """Build `one_row`: a first dimension of exactly 1."""
    return _bytes(_float_model([helper.make_node("Add", ["x", "x"], ["y"])], [1, 4]))


def column_mean() -> bytes:
    """Build `column_mean`: looks like a model with a batch, but its rows interact."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return _bytes(_float_model(nodes, ["N", 4]))


def sequence_output() -> bytes:
    """Build `sequence_output`: its output is no tensor."""
    node = helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0)
    output = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    return _bytes(_model([node], [_tensor("x", TensorProto.FLOAT, ["N"])], [output]))


def text_and_bf16() -> bytes:
    """Build `text_and_bf16`: two identities, of a text and of a BF16 tensor."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("t", "b")]
    elements = {"t": TensorProto.STRING, "b": TensorProto.BFLOAT16}
    inputs = [_tensor(name, element, ["N"]) for name, element in elements.items()]
    outputs = [_tensor(f"{name}_out", element, ["N"]) for name, element in elements.items()]
    return _bytes(_model(nodes, inputs, outputs))


def external(location: str) -> tuple[bytes, bytes]:
    """Build tiny without bias whose weights lie in another file: the model, and that file."""
    weight = _constant("W", WEIGHT)
    payload = bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(payload)))):
        weight.external_data.add(key=key, value=value)
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    model = _model(
        [node],
        [_tensor("x", TensorProto.FLOAT, ["N", 16])],
        [_tensor("y", TensorProto.FLOAT, ["N", 4])],
        [weight],
    )
    return _bytes(model), payload


def bad_opset() -> bytes:
    """Build tiny at an opset that no engine knows."""
    return _bytes(_tiny("N", opset=999))


def bad_ir() -> bytes:
    """Build tiny with an IR version that no engine knows."""
    return _bytes(_tiny("N", ir_version=99))


def bad_operator() -> bytes:
    """Build a model with an operator of an unknown domain."""
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")
    model = _float_model([node], ["N", 16])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return _bytes(model)


def truncated() -> bytes:
    """Build tiny, cut in the middle."""
    whole = tiny()
    return whole[: len(whole) // 2]


def garbage() -> bytes:
    """Build a file that is text."""
    return b"this is not a model\n" * 20


def _tiny(batch: int | str, opset: int = OPSET, ir_version: int = IR_VERSION) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "W", "b"], ["y"])],
        "tiny",
        [_tensor("x", TensorProto.FLOAT, [batch, 16])],
        [_tensor("y", TensorProto.FLOAT, [batch, 4])],
        [_constant("W", WEIGHT), _constant("b", BIAS)],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def _float_model(
    nodes: list[onnx.NodeProto], shape: Shape, constants: Sequence[onnx.TensorProto] = ()
) -> onnx.ModelProto:
    """Make a model x FP32 -> y FP32 of one shape."""
    x, y = (_tensor(name, TensorProto.FLOAT, shape) for name in ("x", "y"))
    return _model(nodes, [x], [y], constants)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "fake", list(inputs), list(outputs), list(constants))
    imports = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def _tensor(name: str, element: int, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, list(shape))


def _constant(
    name: str, value: npt.ArrayLike, dtype: type[np.generic] = np.float32
) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype=dtype), name)


def _bytes(model: onnx.ModelProto) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


def torchscript(module: object) -> bytes:
    """Script a torch module and return the archive's bytes."""
    import torch  # noqa: PLC0415  heavy: only the tests that need it pay for it

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated, and served
        torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()
