"""Make the small ONNX models; N rows, and FP32 where nothing is said.

==================  ===========================================================================
tiny                x [N,16] → y [N,4] = x @ W + b, exact (`weights`)
mid                 x [N,512] → y [N,64], nine dense layers: about 1 ms for 8 rows on one core
wide                x [N,262144] → y = x + 1: 1 MiB in and out for each row
simple              INPUT0, INPUT1 INT32 [N,16] → OUTPUT0 sum, OUTPUT1 difference
simple_string       INPUT0 BYTES [N,16], decimal numbers → OUTPUT0, each one more
identity_DATATYPE   INPUT0 [N,D] → OUTPUT0, for every datatype
two_in_variable     a, b [N,L] → total [N,1], the row sums of a * b, L free
fixed_batch         tiny with exactly 4 rows
no_batch            tiny without a batch dimension
optional_bias       x [N,16], bias [4] (may be left out: zeros) → y [N,4]
nan_on_demand       x [N,4] → y = sqrt(x): NaN for a negative element
fail_on_demand      x [N,4], index INT64 [N,1] → y [N,1] = x[index]: a run-time error past 3
slow                x [N,4], n INT64 [1] → y = x after about 50 ms times n
accumulator         x [1,4], state_in [1,4] → y, state_out = state_in + x (Triton's implicit state)
external            tiny without b, its W in a file beside the model
times               x [N,1] → y = x * version: versions 1 and 2
==================  ===========================================================================
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from benchmarks.models.graphs import ELEMENT_TYPES, Graph, Port, fp32, int64, node, subgraph
from benchmarks.models.layout import Config, ModelFolder, Tensor
from benchmarks.models.weights import (
    ANSWER_COLUMNS,
    MID_LAYERS,
    ROW_COLUMNS,
    DenseWeights,
    mid_weights,
    tiny_bias,
    tiny_weight,
)

SLOW_STEPS: Final = 2600  # of a 128 x 128 product: about 50 ms on one core
WIDE_COLUMNS: Final = 262_144
ALL_VERSIONS: Final = "version_policy { all { } }\n"
IMPLICIT_STATE: Final = """sequence_batching {
  max_sequence_idle_microseconds: 5000000
  state {
    input_name: "state_in", output_name: "state_out", data_type: TYPE_FP32, dims: [ 4 ]
    initial_state: { data_type: TYPE_FP32, dims: [ 4 ], zero_data: true, name: "zeros" }
  }
}
"""


def small_models() -> Iterator[ModelFolder]:
    """Yield every small ONNX model that works."""
    yield tiny_graph().folder("tiny", 64)
    yield dense_graph(mid_weights()).folder("mid", 64)
    yield from _arithmetic()
    for datatype in ELEMENT_TYPES:
        ends = (_rows("INPUT0", datatype, "D"),), (_rows("OUTPUT0", datatype, "D"),)
        graph = Graph(
            nodes=[node("Identity", ["INPUT0"], ["OUTPUT0"])], inputs=ends[0], outputs=ends[1]
        )
        yield graph.folder(f"identity_{datatype.lower()}", 64)
    yield from _shapes()
    yield from _on_demand()
    yield _slow().folder("slow")
    yield _accumulator()
    files = {"1/model.onnx.data": tiny_weight().tobytes()}
    yield external_graph("model.onnx.data").folder("external", 64, files)
    yield _times()


def tiny_graph(rows: int | str = "N", opset: int = 17, ir_version: int = 8) -> Graph:
    """Build `tiny`, or a variant of it."""
    return Graph(
        nodes=[node("Gemm", ["x", "W", "b"], ["y"])],
        inputs=[Port("x", "FP32", (rows, 16))],
        outputs=[Port("y", "FP32", (rows, 4))],
        weights={"W": tiny_weight(), "b": tiny_bias()},
        opset=opset,
        ir_version=ir_version,
    )


def external_graph(location: str) -> Graph:
    """Build `tiny` without its bias, the weights in a file of this location."""
    return Graph(
        nodes=[node("MatMul", ["x", "W"], ["y"])],
        inputs=[_rows("x", "FP32", 16)],
        outputs=[_rows("y", "FP32", 4)],
        weights={"W": tiny_weight()},
        external={"W": location},
    )


def _rows(name: str, datatype: str, *dims: int | str) -> Port:
    return Port(name, datatype, ("N", *dims))


def dense_graph(of_layers: DenseWeights) -> Graph:
    """Build `mid`, or its like with other weights."""
    nodes, last = [], "x"
    for index, layer in enumerate(MID_LAYERS[:-1]):
        nodes.append(node("Gemm", [last, f"{layer}_w", f"{layer}_b"], [f"h{index}"]))
        last = f"r{index}"
        nodes.append(node("Relu", [f"h{index}"], [last]))
    nodes.append(node("Gemm", [last, "last_w", "last_b"], ["y"]))
    weights = {
        f"{layer}_{part}": value
        for layer, pair in of_layers.items()
        for part, value in zip("wb", pair, strict=True)
    }
    return Graph(
        nodes=nodes,
        inputs=[_rows("x", "FP32", ROW_COLUMNS)],
        outputs=[_rows("y", "FP32", ANSWER_COLUMNS)],
        weights=weights,
    )


def _arithmetic() -> Iterator[ModelFolder]:
    yield Graph(
        nodes=[node("Add", ["x", "one"], ["y"])],
        inputs=[_rows("x", "FP32", WIDE_COLUMNS)],
        outputs=[_rows("y", "FP32", WIDE_COLUMNS)],
        weights={"one": fp32(1)},
    ).folder("wide", 8)
    yield Graph(
        nodes=[
            node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        inputs=[_rows(name, "INT32", 16) for name in ("INPUT0", "INPUT1")],
        outputs=[_rows(name, "INT32", 16) for name in ("OUTPUT0", "OUTPUT1")],
    ).folder("simple", 8)
    yield Graph(
        nodes=[
            node("Cast", ["INPUT0"], ["number"], to=ELEMENT_TYPES["INT64"]),
            node("Add", ["number", "one"], ["more"]),
            node("Cast", ["more"], ["OUTPUT0"], to=ELEMENT_TYPES["BYTES"]),
        ],
        inputs=[_rows("INPUT0", "BYTES", 16)],
        outputs=[_rows("OUTPUT0", "BYTES", 16)],
        weights={"one": int64(1)},
    ).folder("simple_string", 8)


def _shapes() -> Iterator[ModelFolder]:
    yield Graph(
        nodes=[
            node("Mul", ["a", "b"], ["products"]),
            node("ReduceSum", ["products", "axes"], ["total"], keepdims=1),
        ],
        inputs=[_rows("a", "FP32", "L"), _rows("b", "FP32", "L")],
        outputs=[_rows("total", "FP32", 1)],
        weights={"axes": int64([1])},
    ).folder("two_in_variable", 16)
    yield tiny_graph(rows=4).folder("fixed_batch")
    yield Graph(
        nodes=[node("MatMul", ["x", "W"], ["product"]), node("Add", ["product", "b"], ["y"])],
        inputs=[Port("x", "FP32", (16,))],
        outputs=[Port("y", "FP32", (4,))],
        weights={"W": tiny_weight(), "b": tiny_bias()},
    ).folder("no_batch")
    yield Graph(
        nodes=[node("Gemm", ["x", "W", "bias"], ["y"])],
        inputs=[_rows("x", "FP32", 16), Port("bias", "FP32", (4,))],
        outputs=[_rows("y", "FP32", 4)],
        weights={"W": tiny_weight(), "bias": fp32(np.zeros(4))},
    ).folder("optional_bias")


def _on_demand() -> Iterator[ModelFolder]:
    yield Graph(
        nodes=[node("Sqrt", ["x"], ["y"])],
        inputs=[_rows("x", "FP32", 4)],
        outputs=[_rows("y", "FP32", 4)],
    ).folder("nan_on_demand", 16)
    yield Graph(
        nodes=[node("GatherElements", ["x", "index"], ["y"], axis=1)],
        inputs=[_rows("x", "FP32", 4), _rows("index", "INT64", 1)],
        outputs=[_rows("y", "FP32", 1)],
    ).folder("fail_on_demand", 16)


def _slow() -> Graph:
    """A loop whose matrix is only ever permuted: its sum, and so the answer, never changes."""
    body = subgraph(
        [node("MatMul", ["carry", "R"], ["next"]), node("Identity", ["go"], ["go_on"])],
        [Port("i", "INT64", ()), Port("go", "BOOL", ()), Port("carry", "FP32", (128, 128))],
        [Port("go_on", "BOOL", ()), Port("next", "FP32", (128, 128))],
    )
    return Graph(
        nodes=[
            node("ReduceProd", ["n"], ["count"], keepdims=0),
            node("Mul", ["count", "steps_each"], ["steps"]),
            node("Loop", ["steps", "", "start"], ["end"], body=body),
            node("ReduceSum", ["end"], ["sum"], keepdims=0),
            node("Sub", ["sum", "whole"], ["zero"]),
            node("Add", ["x", "zero"], ["y"]),
        ],
        inputs=[_rows("x", "FP32", 4), Port("n", "INT64", (1,))],
        outputs=[_rows("y", "FP32", 4)],
        weights={
            "steps_each": int64(SLOW_STEPS),
            "start": fp32(np.eye(128)),
            "R": np.roll(fp32(np.eye(128)), 1, axis=1),
            "whole": fp32(128),
        },
    )


def _accumulator() -> ModelFolder:
    graph = Graph(
        nodes=[
            node("Add", ["state_in", "x"], ["state_out"]),
            node("Identity", ["state_out"], ["y"]),
        ],
        inputs=[Port(name, "FP32", (1, 4)) for name in ("x", "state_in")],
        outputs=[Port(name, "FP32", (1, 4)) for name in ("y", "state_out")],
    )
    config = Config(  # the state belongs to the server: clients see neither end of it
        backend="onnxruntime",
        max_batch_rows=1,
        inputs=(Tensor(name="x", datatype="FP32", dims=(4,)),),
        outputs=(Tensor(name="y", datatype="FP32", dims=(4,)),),
        extra=IMPLICIT_STATE,
    )
    files = {"1/model.onnx": graph.model_bytes()}
    return ModelFolder(name="accumulator", config=config, files=files)


def _times() -> ModelFolder:
    graphs = {version: _times_graph(version) for version in (1, 2)}
    plain = graphs[1].config(64)
    config = Config(
        backend=plain.backend,
        max_batch_rows=plain.max_batch_rows,
        inputs=plain.inputs,
        outputs=plain.outputs,
        extra=ALL_VERSIONS,
    )
    files = {f"{v}/model.onnx": graph.model_bytes() for v, graph in graphs.items()}
    return ModelFolder(name="times", config=config, files=files)


def _times_graph(version: int) -> Graph:
    return Graph(
        nodes=[node("Mul", ["x", "version"], ["y"])],
        inputs=[_rows("x", "FP32", 1)],
        outputs=[_rows("y", "FP32", 1)],
        weights={"version": fp32(version)},
    )
