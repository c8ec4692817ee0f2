"""Build ONNX models by hand: nodes, named tensors and weights in, a model's folder out.

Opset and IR version are old enough for every engine that we support; what the `onnx` package writes
by default can be too new for the engine beside it. The same graph gives the same bytes every time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models.layout import Config, ModelFolder, Tensor

Array = np.ndarray[Any, np.dtype[Any]]
Node = onnx.NodeProto
node: Final = helper.make_node

OPSET: Final = 17
IR_VERSION: Final = 8
ELEMENT_TYPES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "BOOL": TensorProto.BOOL,
        "UINT8": TensorProto.UINT8,
        "UINT16": TensorProto.UINT16,
        "UINT32": TensorProto.UINT32,
        "UINT64": TensorProto.UINT64,
        "INT8": TensorProto.INT8,
        "INT16": TensorProto.INT16,
        "INT32": TensorProto.INT32,
        "INT64": TensorProto.INT64,
        "FP16": TensorProto.FLOAT16,
        "FP32": TensorProto.FLOAT,
        "FP64": TensorProto.DOUBLE,
        "BF16": TensorProto.BFLOAT16,
        "BYTES": TensorProto.STRING,
    }
)


@dataclass(frozen=True, slots=True)
class Port:
    """A graph's input or output; a name in its shape is a free dimension."""

    name: str
    datatype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """An ONNX model before it is bytes."""

    nodes: Sequence[Any]
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    weights: Mapping[str, Array] = field(default_factory=dict)
    external: Mapping[str, str] = field(default_factory=dict)
    """Weights that lie in a file beside the model: name → location."""
    opset: int = OPSET
    ir_version: int = IR_VERSION
    domains: Sequence[str] = ()
    """Operator domains besides ONNX's own."""

    def model_bytes(self) -> bytes:
        """Return the model file."""
        graph = helper.make_graph(
            list(self.nodes),
            "graph",
            [_value_info(port) for port in self.inputs],
            [_value_info(port) for port in self.outputs],
            [self._initializer(name, value) for name, value in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in self.domains]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=self.ir_version, producer_name="bascule"
        )
        return bytes(model.SerializeToString(deterministic=True))

    def folder(
        self, name: str, max_batch_rows: int = 0, files: Mapping[str, bytes] | None = None
    ) -> ModelFolder:
        """Return the model's folder with one version and a configuration that fits the graph."""
        return ModelFolder(
            name=name,
            config=self.config(max_batch_rows),
            files={"1/model.onnx": self.model_bytes(), **(files or {})},
        )

    def config(self, max_batch_rows: int) -> Config:
        """Return a configuration that fits the graph; weights that may be overridden are inputs."""
        skipped = 1 if max_batch_rows else 0
        return Config(
            backend="onnxruntime",
            max_batch_rows=max_batch_rows,
            inputs=tuple(_tensor(p, skipped) for p in self.inputs if p.name not in self.weights),
            outputs=tuple(_tensor(port, skipped) for port in self.outputs),
        )

    def _initializer(self, name: str, value: Array) -> Any:
        tensor = numpy_helper.from_array(value, name)
        if name not in self.external:
            return tensor
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        facts = {"location": self.external[name], "offset": "0", "length": str(value.nbytes)}
        for key, text in facts.items():
            tensor.external_data.add(key=key, value=text)
        return tensor


def subgraph(nodes: Sequence[Any], inputs: Sequence[Port], outputs: Sequence[Port]) -> Any:
    """Return the body of a control-flow node."""
    return helper.make_graph(
        list(nodes),
        "body",
        [_value_info(port) for port in inputs],
        [_value_info(port) for port in outputs],
    )


def fp32(value: Any) -> Array:
    """Return a FP32 tensor."""
    return np.asarray(value, np.float32)


def int64(value: Any) -> Array:
    """Return an INT64 tensor."""
    return np.asarray(value, np.int64)


def _value_info(port: Port) -> Any:
    return helper.make_tensor_value_info(port.name, ELEMENT_TYPES[port.datatype], port.shape)


def _tensor(port: Port, skipped_dims: int) -> Tensor:
    dims = tuple(size if isinstance(size, int) else -1 for size in port.shape[skipped_dims:])
    return Tensor(name=port.name, datatype=port.datatype, dims=dims)
