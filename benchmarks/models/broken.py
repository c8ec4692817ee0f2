"""Small models that are broken on purpose: each must be refused at load, with the reason.

================== ===============================================================
bad_opset          tiny at opset 999
bad_ir             tiny with IR version 99
bad_operator       a node of an unknown operator in an unknown domain
bad_truncated      tiny cut in the middle
bad_empty          a file of 0 bytes
bad_garbage        a file of text
bad_external       external data in a file that is missing
bad_external_path  external data outside the model's folder
bad_config         a good tiny, but its configuration says that x has 8 columns
================== ===============================================================
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.models.graphs import Graph, Port, node
from benchmarks.models.layout import ModelFolder
from benchmarks.models.small import external_graph, tiny_graph


def broken_models() -> Iterator[ModelFolder]:
    """Yield every broken ONNX model."""
    yield tiny_graph(opset=999).folder("bad_opset", 64)
    yield tiny_graph(ir_version=99).folder("bad_ir", 64)
    yield Graph(
        nodes=[node("Frobnicate", ["x"], ["y"], domain="com.example")],
        inputs=[Port("x", "FP32", ("N", 16))],
        outputs=[Port("y", "FP32", ("N", 16))],
        domains=["com.example"],
    ).folder("bad_operator", 64)
    good = tiny_graph().model_bytes()
    yield _tiny_with_file("bad_truncated", good[: len(good) // 2])
    yield _tiny_with_file("bad_empty", b"")
    yield _tiny_with_file("bad_garbage", b"this is not a model\n" * 20)
    yield external_graph("missing.data").folder("bad_external", 64)
    yield external_graph("../../secret.bin").folder("bad_external_path", 64)
    config = tiny_graph().config(64)
    narrow = replace(config, inputs=(replace(config.inputs[0], dims=(8,)),))
    yield ModelFolder(name="bad_config", config=narrow, files={"1/model.onnx": good})


def _tiny_with_file(name: str, payload: bytes) -> ModelFolder:
    return ModelFolder(name=name, config=tiny_graph().config(64), files={"1/model.onnx": payload})
