"""What a model file says of itself, read without running, unpickling or loading anything.

The readers are `runtimes.onnx_static`, `runtimes.torch_static` and `runtimes.pt2_static`;
`runtimes.file_kind` chooses one by content. The records hold facts and no verdict; they are plain
values, so that they can be kept and sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype


class FileKind(StrEnum):
    """What a file's content is, whatever its name says."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"
    PT2 = "pt2"
    CHECKPOINT = "checkpoint"
    """A zip archive of torch.save: weights or a pickled module."""
    PICKLE = "pickle"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorUse:
    """An operator of a graph and how many nodes use it."""

    domain: str
    """Empty: the standard domain."""
    name: str
    count: int

    def __str__(self) -> str:
        """Print as ONNX Runtime does."""
        return f"{self.domain or 'ai.onnx'}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalData:
    """A tensor whose bytes lie in another file."""

    tensor: str
    location: str
    """As the model writes it: relative to the model's folder, if it is well."""
    offset: int
    length: int
    """Bytes that the tensor needs from `offset` on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """An ONNX file."""

    ir_version: int
    opsets: Mapping[str, int]
    """Opset by domain; the standard domain is the empty text."""
    operators: tuple[OperatorUse, ...]
    """Of the graph, its subgraphs and its functions, most used first."""
    unknown_operators: tuple[OperatorUse, ...] = ()
    """Of standard domains, and not part of the opset that the file asks for."""
    local_functions: frozenset[tuple[str, str]] = frozenset()
    """Domain and name of the functions that the file itself defines."""
    typed_operators: frozenset[tuple[str, Datatype]] = frozenset()
    """Operators of the standard domain with a datatype that they certainly work on."""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    unranked: frozenset[str] = frozenset()
    """Inputs and outputs whose rank the file does not state; their specs show rank 0."""
    unserved: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Inputs and outputs that are no plain tensors: name → what they are."""
    weight_bytes: int = 0
    external: tuple[ExternalData, ...] = ()
    proto_bytes: int = 0
    """Size of the file itself, without external data."""
    producer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchScriptArchive:
    """A TorchScript file."""

    file_version: int
    operators: tuple[str, ...] = ()
    """`namespace::name` of each operator that its code calls outside of torch's own functions."""
    is_training: bool = False
    """A module of it was saved in training mode."""
    pickle_imports: tuple[str, ...] = ()
    """What its pickles import beyond torch's own tensors and containers."""
    weight_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedInput:
    """An input of a `.pt2` archive."""

    name: str
    shape: tuple[int, ...]
    """-1: free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pt2Archive:
    """A `torch.export` file."""

    archive_version: int
    schema_version: tuple[int, int]
    torch_version: str = ""
    inputs: tuple[ExportedInput, ...] = ()
    operators: tuple[str, ...] = ()
    pickles: tuple[str, ...] = ()
    """Members that are pickles: loading the archive unpickles them."""
    pickle_imports: tuple[str, ...] = ()
    weight_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PickledFile:
    """A checkpoint or a plain pickle: nothing that is served."""

    kind: FileKind
    pickle_imports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableFile:
    """A file that is no model, or is damaged."""

    reason: str
    """In one clause: `it is empty`, `it is cut off`, …"""
    kind: FileKind = FileKind.UNKNOWN
    """What it seems to be."""
    is_hostile: bool = False
    """It is built to harm its reader: a zip bomb, encrypted members, names that lead out."""


ModelFacts = OnnxModel | TorchScriptArchive | Pt2Archive | PickledFile | UnreadableFile


def kind_of(facts: ModelFacts) -> FileKind:
    """Return what the file is."""
    match facts:
        case OnnxModel():
            return FileKind.ONNX
        case TorchScriptArchive():
            return FileKind.TORCHSCRIPT
        case Pt2Archive():
            return FileKind.PT2
        case PickledFile() | UnreadableFile():
            return facts.kind
