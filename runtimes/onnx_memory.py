"""Estimates how many bytes of tensors are alive at once while an ONNX model runs one batch.

Shapes are inferred for a batch of a given size; a tensor lives from the node that makes it to the
last one that reads it. Free dimensions other than the batch are supposed to have one size.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnx
from google.protobuf.message import DecodeError
from onnx import shape_inference

from runtimes.estimate import Estimate
from runtimes.onnx_static import elements_bytes, load_slim

MAX_NODES: Final = 5_000
FREE_SIZE: Final = 128


def estimate_activations(file: Path, rows: int) -> Estimate:
    """Estimate the peak for a batch of that many rows."""
    try:
        model, _ = load_slim(file)
        if len(model.graph.node) > MAX_NODES:
            return Estimate(peak_bytes=None, note=f"the graph has over {MAX_NODES} nodes")
        _fix_inputs(model.graph, max(1, rows))
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    except (ValueError, DecodeError, RuntimeError) as error:
        return Estimate(peak_bytes=None, note=f"shapes cannot be inferred: {str(error)[:120]}")
    sizes = _sizes(inferred.graph)
    made = [name for node in inferred.graph.node for name in node.output if name]
    unknown = sum(name not in sizes for name in made)
    supposed = f"{max(1, rows)} rows, other free dimensions of {FREE_SIZE}"
    if made and unknown * 2 > len(made):
        return Estimate(peak_bytes=None, note=f"the shapes of {unknown} of {len(made)} are unknown")
    note = supposed + (f"; {unknown} of {len(made)} tensors unknown" if unknown else "")
    return Estimate(peak_bytes=_peak(inferred.graph, sizes), note=note)


def _fix_inputs(graph: onnx.GraphProto, rows: int) -> None:
    """Give the free dimensions of inputs a size."""
    for item in graph.input:
        for index, dim in enumerate(item.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_value = FREE_SIZE if index else rows


def _sizes(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the bytes of every tensor whose shape is known."""
    sizes = {}
    for item in (*graph.input, *graph.value_info, *graph.output):
        tensor = item.type.tensor_type
        dims = tensor.shape.dim
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            sizes[item.name] = elements_bytes((dim.dim_value for dim in dims), tensor.elem_type)
    return sizes


def _peak(graph: onnx.GraphProto, sizes: Mapping[str, int]) -> int:
    """Return the largest sum of tensors that are alive at once."""
    last_use = {name: len(graph.node) for name in (item.name for item in graph.output)}
    for index, node in enumerate(graph.node):
        for name in node.input:
            last_use[name] = max(index, last_use.get(name, 0))
    alive = sum(sizes.get(item.name, 0) for item in graph.input)
    peak = alive
    for index, node in enumerate(graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, alive)
        ends = {name for name in (*node.input, *node.output) if last_use.get(name, index) == index}
        alive -= sum(sizes.get(name, 0) for name in ends)
    return peak
