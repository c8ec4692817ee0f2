"""All that serving knows of a model: tensor specs, how to load it, how to run a batch.

A runtime is one module of this package that implements `Runtime` for one file format. It knows no
server: arrays in, arrays out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from runtimes.datatypes import Datatype
from runtimes.devices import Device
from runtimes.engine_options import DEFAULT_OPTIONS, EngineOptions
from runtimes.findings import Finding
from runtimes.profile import Precision

Array = np.ndarray[Any, np.dtype[Any]]
"""A tensor of any shape and dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, datatype and full shape of a tensor; -1 stands for a free dimension."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What a runtime needs to load one model file.

    `declared_inputs` and `declared_outputs` are what the model's configuration claims, full shapes
    with the batch dimension; empty where it claims nothing. Formats without specs of their own
    (TorchScript) take names, datatypes and shapes from here; others refuse a contradiction.
    """

    file: Path
    device: Device
    threads: int
    declared_inputs: tuple[TensorSpec, ...] = ()
    declared_outputs: tuple[TensorSpec, ...] = ()
    precision: Precision = "fp32"
    gpu_arena_bytes: int = 0
    """Bound on the engine's memory on a CUDA device; 0: none."""
    deterministic: bool = False
    """Only algorithms that give the same bits in every run, and one thread."""
    allow_cpu_nodes: bool = True
    """On CUDA: operators without a CUDA kernel may run on the CPU."""
    may_use_cpu: bool = False
    """On CUDA: a model none of whose operators has a CUDA kernel may run on the CPU as a whole,
    because its configuration left the device open."""
    may_execute: bool = False
    """Loading may run code that the file carries: whoever asks has made sure of its author."""
    options: EngineOptions = DEFAULT_OPTIONS


class LoadedModel(Protocol):
    """A model in memory on its device. Not thread-safe: one caller at a time."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the inputs, in the model's order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the outputs, in the model's order."""

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Run one batch.

        Args:
            feeds: One array per input, in the order of `inputs`, C-contiguous and aligned; None
                for an optional input that was left out.

        Returns:
            One C-contiguous array per output, in the order of `outputs`, in host memory.

        Raises:
            InvalidArgumentError: The engine refused the values or shapes of this batch.
            EngineError: The engine failed.
        """

    def close(self) -> None:
        """Give back what the model holds; it cannot run afterwards."""


@runtime_checkable
class Noted(Protocol):
    """A loaded model that has something to say of itself, for people."""

    notes: tuple[str, ...]


@runtime_checkable
class Placed(Protocol):
    """A loaded model that knows where it runs."""

    device: Device
    """Another one than was asked for, if that was allowed."""
    findings: tuple[Finding, ...]
    """What is to be told of that."""


@runtime_checkable
class Looping(Protocol):
    """A loaded model that knows whether it has loops."""

    has_loops: bool
    """How long a run takes may depend on the values of its inputs, not on their shapes alone."""


class Runtime(Protocol):
    """Loads and runs one format."""

    platform: str
    """Triton's word for the format, as in model metadata: `onnxruntime_onnx`, …"""
    backend: str
    """Triton's backend name: `onnxruntime`, `pytorch`."""

    def load(self, request: LoadRequest) -> LoadedModel:
        """Load a model file.

        Raises:
            ModelLoadError: It cannot work here; the message says why and what to do.
        """
