"""The test cases that the installed `onnx` package carries, as records of plain arrays.

Each is one small model with inputs and the outputs that the ONNX project expects of it. Most are
built in memory by the package; the older families are files in it. Kept are all whose tensors the
Open Inference Protocol can carry: plain tensors of its datatypes, with one set of data.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case import node
from onnx.backend.test.loader import load_model_tests

from runtimes.datatypes import Datatype

Array = np.ndarray[Any, np.dtype[Any]]

FILE_FAMILIES: Final = ("simple", "pytorch-operator", "pytorch-converted")
SLOW: Final = frozenset({"averagepool", "lppool", "maxpool"})
"""Modules that take 12 of the 16 s in which all references are computed."""
DATATYPES: Final = MappingProxyType(
    {
        onnx.TensorProto.BOOL: Datatype.BOOL,
        onnx.TensorProto.UINT8: Datatype.UINT8,
        onnx.TensorProto.UINT16: Datatype.UINT16,
        onnx.TensorProto.UINT32: Datatype.UINT32,
        onnx.TensorProto.UINT64: Datatype.UINT64,
        onnx.TensorProto.INT8: Datatype.INT8,
        onnx.TensorProto.INT16: Datatype.INT16,
        onnx.TensorProto.INT32: Datatype.INT32,
        onnx.TensorProto.INT64: Datatype.INT64,
        onnx.TensorProto.FLOAT16: Datatype.FP16,
        onnx.TensorProto.BFLOAT16: Datatype.BF16,
        onnx.TensorProto.FLOAT: Datatype.FP32,
        onnx.TensorProto.DOUBLE: Datatype.FP64,
        onnx.TensorProto.STRING: Datatype.BYTES,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input or expected output; text is an object array of `bytes`."""

    name: str
    datatype: Datatype
    value: Array
    """In the shape of the reference."""
    declared: tuple[int, ...] | None
    """The model's own shape, -1 for a symbol; None where it states no rank."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and what it must answer."""

    name: str
    model: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    ir_version: int
    opsets: tuple[tuple[str, int], ...]
    """Domains and their versions that the model imports."""

    @cached_property
    def is_json(self) -> bool:
        """Whether strict JSON can carry all of it: no 16-bit floats, NaN, infinities or bytes."""
        return all(_is_json(tensor) for tensor in (*self.inputs, *self.outputs))


def read_cases(only: str = "*", without: Collection[str] = ()) -> tuple[list[Case], int]:
    """Read the cases whose names match a glob.

    Args:
        only: The glob.
        without: Modules of the package that are not even imported, as `SLOW` ones.

    Returns:
        The cases by name, and how many others there are that the protocol cannot carry.
    """
    cases: list[Case] = []
    left_out = 0
    for test in _tests(without):
        if not fnmatchcase(test.name, only):
            continue
        case = _case(test)
        if case is None:
            left_out += 1
        else:
            cases.append(case)
    return sorted(cases, key=lambda case: case.name), left_out


def _tests(without: Collection[str]) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package computes references that overflow
        for module in pkgutil.walk_packages(node.__path__, f"{node.__name__}."):
            if module.name.rpartition(".")[2] not in without:
                importlib.import_module(module.name)
        files = [test for family in FILE_FAMILIES for test in load_model_tests(kind=family)]
    return [*node._NodeTestCases, *files]  # noqa: SLF001  what importing those modules fills


def _case(test: Any) -> Case | None:
    model = test.model or onnx.load(Path(test.model_dir) / "model.onnx")
    sets = test.data_sets if test.model is not None else _sets_of_files(Path(test.model_dir))
    if not sets or len(sets) != 1:
        return None
    inputs = _tensors(model.graph.input, sets[0][0])
    outputs = _tensors(model.graph.output, sets[0][1])
    if inputs is None or outputs is None:
        return None
    return Case(
        name=test.name,
        model=model.SerializeToString(),
        inputs=inputs,
        outputs=outputs,
        ir_version=model.ir_version,
        opsets=tuple((item.domain, item.version) for item in model.opset_import),
    )


def _sets_of_files(folder: Path) -> list[tuple[list[Any], list[Any]]]:
    return [
        (_messages(each, "input"), _messages(each, "output"))
        for each in sorted(folder.glob("test_data_set_*"))
    ]


def _messages(folder: Path, role: str) -> list[Any]:
    files = sorted(folder.glob(f"{role}_*.pb"), key=lambda file: int(file.stem.split("_")[1]))
    return [onnx.TensorProto.FromString(file.read_bytes()) for file in files]


def _tensors(infos: Iterable[Any], values: Sequence[Any]) -> tuple[Tensor, ...] | None:
    """Pair a graph's tensors with their data; initializers among the inputs come without any."""
    tensors = []
    for info, value in zip(infos, values, strict=False):
        kind = info.type
        if kind.WhichOneof("value") != "tensor_type" or value is None or isinstance(value, list):
            return None
        datatype = DATATYPES.get(kind.tensor_type.elem_type)
        if datatype is None:
            return None
        tensors.append(
            Tensor(
                name=info.name,
                datatype=datatype,
                value=_array(value, datatype),
                declared=_declared(kind.tensor_type),
            )
        )
    return tuple(tensors) if len(tensors) == len(values) else None


def _array(value: Any, datatype: Datatype) -> Array:
    array = np.asarray(
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    )
    if datatype is not Datatype.BYTES:
        return array
    texts = [text if isinstance(text, bytes) else str(text).encode() for text in array.ravel()]
    made = np.empty(len(texts), object)
    made[:] = texts
    return made.reshape(array.shape)


def _declared(kind: Any) -> tuple[int, ...] | None:
    if not kind.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)


def _is_json(tensor: Tensor) -> bool:
    if tensor.datatype in {Datatype.FP16, Datatype.BF16}:
        return False
    if tensor.value.dtype.kind == "f":
        return bool(np.isfinite(tensor.value).all())
    return tensor.datatype is not Datatype.BYTES or all(map(_is_text, tensor.value.ravel()))


def _is_text(element: bytes) -> bool:
    try:
        element.decode()
    except UnicodeDecodeError:
        return False
    return True
