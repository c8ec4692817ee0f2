"""Small stateful ONNX models, whose state comes in and goes out as tensors.

N stands for the batch dimension::

    accumulator   x FP32 [N,1], start FP32 [N,1], corrid INT64 [N,1], sum_in FP32 [N,1]
                  -> y FP32 [N,1]: the sum of x since start; id INT64 [N,1]: corrid; sum_out: y
    history       x FP32 [1,1], past FP32 [1,L] -> y FP32 [1,1]: number of steps so far;
                  present FP32 [1,L+1]: past and x
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

ACCUMULATOR_CONFIG = """
max_batch_size: 8
model_warmup { name: "two" batch_size: 2 inputs { key: "x" value {
  data_type: TYPE_FP32 dims: 1 random_data: true } } }
input { name: "x" data_type: TYPE_FP32 dims: 1 }
output { name: "y" data_type: TYPE_FP32 dims: 1 }
output { name: "id" data_type: TYPE_INT64 dims: 1 }
sequence_batching {
  max_sequence_idle_microseconds: 600000000
  oldest { max_candidate_sequences: 4 }
  control_input { name: "start" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] } }
  control_input { name: "corrid" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 } }
  state {
    input_name: "sum_in" output_name: "sum_out" data_type: TYPE_FP32 dims: 1
    initial_state { name: "zero" data_type: TYPE_FP32 dims: 1 zero_data: true }
  }
}
"""

HISTORY_CONFIG = """
max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: [1, 1] }
output { name: "y" data_type: TYPE_FP32 dims: [1, 1] }
sequence_batching {
  max_sequence_idle_microseconds: 600000000
  state { input_name: "past" output_name: "present" data_type: TYPE_FP32 dims: [1, -1] }
}
"""


def accumulator() -> bytes:
    """Build `accumulator`."""
    nodes = [
        helper.make_node("Sub", ["one", "start"], ["keep"]),
        helper.make_node("Mul", ["sum_in", "keep"], ["kept"]),
        helper.make_node("Add", ["kept", "x"], ["y"]),
        helper.make_node("Identity", ["y"], ["sum_out"]),
        helper.make_node("Identity", ["corrid"], ["id"]),
    ]
    floats, numbers = TensorProto.FLOAT, TensorProto.INT64
    inputs = [("x", floats), ("start", floats), ("corrid", numbers), ("sum_in", floats)]
    outputs = [("y", floats), ("id", numbers), ("sum_out", floats)]
    return _model(
        nodes,
        [helper.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in inputs],
        [helper.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in outputs],
        [numpy_helper.from_array(np.asarray(1, np.float32), "one")],
    )


def history() -> bytes:
    """Build `history`: its state grows with every call."""
    nodes = [
        helper.make_node("Concat", ["past", "x"], ["present"], axis=1),
        helper.make_node("Shape", ["present"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Cast", ["length"], ["steps"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["steps", "first"], ["done"]),
        helper.make_node("Reshape", ["done", "cell"], ["y"]),
    ]
    floats = TensorProto.FLOAT
    return _model(
        nodes,
        [
            helper.make_tensor_value_info("x", floats, [1, 1]),
            helper.make_tensor_value_info("past", floats, [1, "L"]),
        ],
        [
            helper.make_tensor_value_info("y", floats, [1, 1]),
            helper.make_tensor_value_info("present", floats, [1, "M"]),
        ],
        [
            numpy_helper.from_array(np.asarray(1, np.int64), "one"),
            numpy_helper.from_array(np.asarray(1, np.float32), "first"),
            numpy_helper.from_array(np.asarray([1, 1], np.int64), "cell"),
        ],
    )


def _model(
    nodes: list[object], inputs: list[object], outputs: list[object], constants: list[object]
) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET)]
    built = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    raw: bytes = built.SerializeToString()
    return raw
