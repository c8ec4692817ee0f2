"""ONNX models whose answers on a GPU are worth comparing: each function returns a file's bytes.

N stands for the batch dimension (free). Weights are random, the same in every run::

    perceptron    x FP32 [N,64] -> y FP32 [N,8]: two layers and a softmax
    convolution   x FP32 [N,3,H,W] -> y FP32 [N,16]: a convolution, the mean over the picture
    product       x FP32 [N,512] -> y FP32 [N,512]: x @ SQUARE, large enough for tensor cores
    half_product  x, w FP16 [N,64], [64,8] -> y FP16 [N,8]: x @ w
    heavy         x FP32 [N,8192] -> y FP32 [N,8192]: x @ 256 MiB of weights
    reshaped      x FP32 [N,D] -> y FP32 [N*D]: its new shape is reckoned from the old one
    determinant   x FP32 [N,4,4] -> y FP32 [N]: det(x @ x), and Det has no CUDA kernel
    lone_det      x FP32 [N,4,4] -> y FP32 [N]: det(x)
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
IR_VERSION: Final = 8
SEED: Final = 20
FLOAT: Final = TensorProto.FLOAT
HEAVY_WIDTH: Final = 8192
HEAVY_BYTES: Final = HEAVY_WIDTH * HEAVY_WIDTH * 4

Floats = npt.NDArray[np.float32]


def random_floats(*shape: int, seed: int = SEED) -> Floats:
    """Return normal random numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def square() -> Floats:
    """Return the weights of `product`."""
    return random_floats(512, 512)


def perceptron() -> bytes:
    """Build `perceptron`."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    weights = {
        "w1": random_floats(64, 128, seed=1) / 8,
        "b1": random_floats(128, seed=2),
        "w2": random_floats(128, 8, seed=3) / 11,
        "b2": random_floats(8, seed=4),
    }
    return _model(nodes, {"x": ("N", 64)}, {"y": ("N", 8)}, weights)


def convolution() -> bytes:
    """Build `convolution`."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    weights = {"w": random_floats(16, 3, 3, 3) / 5, "b": random_floats(16, seed=2)}
    return _model(nodes, {"x": ("N", 3, "H", "W")}, {"y": ("N", 16)}, weights)


def product() -> bytes:
    """Build `product`."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return _model([node], {"x": ("N", 512)}, {"y": ("N", 512)}, {"w": square()})


def half_product() -> bytes:
    """Build `half_product`."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shapes = {"x": ("N", 64), "w": (64, 8)}
    return _model([node], shapes, {"y": ("N", 8)}, {}, element=TensorProto.FLOAT16)


def heavy() -> bytes:
    """Build `heavy`."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shape = ("N", HEAVY_WIDTH)
    ones = np.ones((HEAVY_WIDTH, HEAVY_WIDTH), np.float32)
    return _model([node], {"x": shape}, {"y": shape}, {"w": ones})


def reshaped() -> bytes:
    """Build `reshaped`."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ReduceProd", ["s"], ["p"], axes=[0], keepdims=1),
        helper.make_node("Reshape", ["x", "p"], ["f"]),
        helper.make_node("Relu", ["f"], ["y"]),
    ]
    return _model(nodes, {"x": ("N", "D")}, {"y": ("M",)}, {})


def determinant() -> bytes:
    """Build `determinant`."""
    nodes = [
        helper.make_node("MatMul", ["x", "x"], ["xx"]),
        helper.make_node("Det", ["xx"], ["y"]),
    ]
    return _model(nodes, {"x": ("N", 4, 4)}, {"y": ("N",)}, {})


def lone_det() -> bytes:
    """Build `lone_det`."""
    node = helper.make_node("Det", ["x"], ["y"])
    return _model([node], {"x": ("N", 4, 4)}, {"y": ("N",)}, {})


Shapes = dict[str, tuple[int | str, ...]]


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Shapes,
    outputs: Shapes,
    weights: dict[str, Floats],
    *,
    element: int = FLOAT,
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "gpu",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element, shape) for name, shape in outputs.items()],
        [
            numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in weights.items()
        ],
    )
    imports = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    return bytes(made.SerializeToString(deterministic=True))
