"""The models whose versions are swapped: an answer tells by its numbers which version gave it.

=======  ==================================================================================
swing    x [N,L] → y = x + version, L free: one row of 1 kB, or of 1 MB
counter  x [N,4] → y = version * (the sum of x since its sequence began)
=======  ==================================================================================
"""

from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.instance import Instance
from benchmarks.models.graphs import Graph, Port, fp32, node
from runtimes.contract import Array
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.cli.load.clients import Asked
from serving.cli.load.question import Question
from serving.cli.load.truth import Steps, Truth
from serving.cli.predict_tensors import NamedTensor

SWING: Final = "swing"
COUNTER: Final = "counter"
VERSIONS: Final = (1, 2)
COLUMNS: Final = 4
STEPS: Final = 20
COUNTER_CONFIG: Final = """backend: "onnxruntime"
max_batch_size: 8
input { name: "x", data_type: TYPE_FP32, dims: [ 4 ] }
output { name: "y", data_type: TYPE_FP32, dims: [ 4 ] }
sequence_batching {
  max_sequence_idle_microseconds: 60000000
  state {
    input_name: "state_in", output_name: "state_out", data_type: TYPE_FP32, dims: [ 4 ]
    initial_state: { data_type: TYPE_FP32, dims: [ 4 ], zero_data: true, name: "zeros" }
  }
}
"""


def push_models(instance: Instance, folder: Path) -> None:
    """Put both versions of both models into the registry, and make the first ones live."""
    config = folder / "counter.pbtxt"
    config.write_text(COUNTER_CONFIG)
    for version in VERSIONS:
        for model, graph, options in (
            (SWING, _swing(version), ("--max-batch-size", "8")),
            (COUNTER, _counter(version), ("--config", str(config))),
        ):
            file = folder / f"{model}-{version}.onnx"
            file.write_bytes(graph.model_bytes())
            named = ("--name", model, "--version", str(version))
            instance.bascule("push", str(file), *named, *options)
    for model in (SWING, COUNTER):
        instance.bascule("promote", model, "--to", "1")


def swing_asked(size_bytes: int) -> Asked:
    """One row of a size, and what each version answers."""
    value = np.random.default_rng(7).standard_normal((1, size_bytes // 4)).astype(np.float32)
    told = {str(v): (_tensors("y", value + np.float32(v)),) for v in VERSIONS}
    return Asked(
        question=Question(model=SWING, tensors=_tensors("x", value)), truth=Truth(_no_other, told)
    )


def counter_asked() -> Asked:
    """Sequences of some steps, and what each version answers at each."""
    value = np.arange(COLUMNS, dtype=np.float32)[None]
    told = {
        str(v): tuple(_tensors("y", value * np.float32(v * (step + 1))) for step in range(STEPS))
        for v in VERSIONS
    }
    question = Question(model=COUNTER, tensors=_tensors("x", value), step_count=STEPS)
    return Asked(question=question, truth=Truth(_no_other, told))


def _tensors(name: str, value: Array) -> tuple[NamedTensor, ...]:
    return (NamedTensor(name=name, datatype=Datatype.FP32, array=value),)


async def _no_other(version: str) -> Steps:
    raise InvalidArgumentError(f"nobody made a version {version}")


def _swing(version: int) -> Graph:
    return Graph(
        nodes=[node("Add", ["x", "version"], ["y"])],
        inputs=[Port("x", "FP32", ("N", "L"))],
        outputs=[Port("y", "FP32", ("N", "L"))],
        weights={"version": fp32(version)},
    )


def _counter(version: int) -> Graph:
    return Graph(
        nodes=[
            node("Add", ["state_in", "x"], ["state_out"]),
            node("Mul", ["state_out", "version"], ["y"]),
        ],
        inputs=[Port(name, "FP32", ("N", COLUMNS)) for name in ("x", "state_in")],
        outputs=[Port(name, "FP32", ("N", COLUMNS)) for name in ("y", "state_out")],
        weights={"version": fp32(version)},
    )
