"""Golden samples: inputs with the outputs that they gave, kept in files and run again.

A sample is one `.npz` file of NumPy, stored without compression::

    input_0 … , output_0 …       one array for each tensor, in the order of the specs; an optional
                                 input that was left out is not there
    input_0_shape …              BYTES tensors only: their shape, INT64

BF16 travels as its bits in UINT16; a BYTES tensor as UINT8: each element is its length (uint32,
little-endian) and its UTF-8 bytes, as on the wire. Equal samples give equal files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from runtimes.bounded_file import read_bounded
from runtimes.contract import Array, LoadedModel, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from runtimes.npz_file import decode_arrays, encode_arrays, is_shape
from runtimes.tolerance import Comparison, Tolerance, compare, worst

MAX_FILE_BYTES: Final = 1 << 30
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Inputs and the outputs that they gave, in the order of the model's specs."""

    inputs: tuple[Array | None, ...]
    """None: an optional input that was left out."""
    outputs: tuple[Array, ...]
    name: str = ""
    """What to call it: its file."""


class SpecsOfModel(Protocol):
    """Whatever has the tensors of a model: a loaded model, a signature, a manifest's records."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """Specs of the inputs."""

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """Specs of the outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputReplay:
    """How one output compares over all samples."""

    name: str
    tolerance: Tolerance
    comparison: Comparison
    sample: str = ""
    """The sample that `comparison` shows the first difference of; empty where all are exact."""


def write_sample(target: Path, sample: Sample) -> None:
    """Write a new file.

    Raises:
        InvalidArgumentError: A tensor has a dtype that is none of the protocol's.
    """
    target.write_bytes(encode_sample(sample))


def read_sample(path: Path, specs: SpecsOfModel) -> Sample:
    """Read a sample of a model.

    Raises:
        InvalidArgumentError: The file cannot be read, is damaged, or holds other tensors.
    """
    return decode_sample(_file_bytes(path), specs, path.name)


def encode_sample(sample: Sample) -> bytes:
    """Return the bytes of a sample's file.

    Raises:
        InvalidArgumentError: A tensor has a dtype that is none of the protocol's.
    """
    arrays: dict[str, Array] = {}
    for role, tensors in (("input", sample.inputs), ("output", sample.outputs)):
        for index, tensor in enumerate(tensors):
            if tensor is not None:
                arrays.update(_stored(f"{role}_{index}", tensor))
    return encode_arrays(arrays)


def decode_sample(raw: bytes, specs: SpecsOfModel, source: str) -> Sample:
    """Read a sample out of the bytes of its file.

    Args:
        raw: The bytes.
        specs: The model's tensors: they say what the arrays stand for.
        source: What to call it in messages, and the sample's name.

    Raises:
        InvalidArgumentError: It is no such file, or holds other tensors than the specs.
    """
    arrays = decode_arrays(raw, source)
    inputs = take_inputs(arrays, specs.inputs, source)
    outputs = [
        _tensor(arrays, f"output_{index}", spec, source) for index, spec in enumerate(specs.outputs)
    ]
    if arrays:
        raise InvalidArgumentError(
            f"{source}: '{next(iter(arrays))[:60]}' belongs to no tensor of the model, which has "
            f"{len(inputs)} inputs and {len(outputs)} outputs"
        )
    for spec, array in zip(specs.outputs, outputs, strict=True):
        if array is None:
            raise InvalidArgumentError(f"{source}: output '{spec.name}' is missing")
    kept = tuple(array for array in outputs if array is not None)
    return Sample(inputs=inputs, outputs=kept, name=source)


def take_inputs(
    arrays: dict[str, Array], specs: Sequence[TensorSpec], source: str
) -> tuple[Array | None, ...]:
    """Take `input_0` … out of the arrays of a file, in the order of the specs.

    Raises:
        InvalidArgumentError: One is missing, or of another datatype.
    """
    return tuple(
        _tensor(arrays, f"input_{index}", spec, source) for index, spec in enumerate(specs)
    )


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of any uncompressed .npz file, as `decode_arrays` does.

    Raises:
        InvalidArgumentError: The file cannot be read, or is damaged.
    """
    return decode_arrays(_file_bytes(path), path.name)


def run_samples(model: LoadedModel, samples: Sequence[Sample]) -> list[list[Array]]:
    """Run the inputs of samples and return what they give now.

    Raises:
        InvalidArgumentError: The engine refused the inputs.
        EngineError: The engine failed.
    """
    return [model.run(sample.inputs) for sample in samples]


def compare_samples(
    specs: Sequence[TensorSpec],
    samples: Sequence[Sample],
    found: Sequence[Sequence[Array]],
    tolerances: Sequence[Tolerance],
) -> tuple[OutputReplay, ...]:
    """Compare what samples give now with what they gave, output by output.

    Args:
        specs: The model's outputs.
        samples: At least one sample.
        found: For each sample, the outputs that it gives now.
        tolerances: One for each output.
    """
    replays = []
    for index, (spec, allowed) in enumerate(zip(specs, tolerances, strict=True)):
        seen = [
            compare(sample.outputs[index], now[index], allowed)
            for sample, now in zip(samples, found, strict=True)
        ]
        shown = worst(seen)
        places = [
            sample.name
            for sample, item in zip(samples, seen, strict=True)
            if (item.holds, item.reason) == (shown.holds, shown.reason) and not item.is_exact
        ]
        replays.append(
            OutputReplay(
                name=spec.name,
                tolerance=allowed,
                comparison=shown,
                sample=places[0] if places else "",
            )
        )
    return tuple(replays)


def replay(
    model: LoadedModel, samples: Sequence[Sample], tolerances: Sequence[Tolerance]
) -> tuple[OutputReplay, ...]:
    """Run samples once more and compare each output with its golden values.

    Args:
        model: The loaded model; its outputs are those of the samples.
        samples: At least one sample.
        tolerances: One for each output.

    Raises:
        InvalidArgumentError: The engine refused the inputs.
        EngineError: The engine failed.
    """
    return compare_samples(model.outputs, samples, run_samples(model, samples), tolerances)


def _file_bytes(path: Path) -> bytes:
    try:
        return read_bounded(path, MAX_FILE_BYTES)
    except OSError as error:
        raise InvalidArgumentError(f"{path.name} cannot be read: {error.strerror}") from error


def _stored(name: str, tensor: Array) -> Mapping[str, Array]:
    """Return the arrays of the file that stand for one tensor."""
    if tensor.dtype == object:
        content = b"".join(_element(element, name) for element in tensor.flat)
        return {
            name: np.frombuffer(content, np.uint8),
            f"{name}_shape": np.asarray(tensor.shape, dtype=np.int64),
        }
    if tensor.dtype not in DTYPES.values():
        raise InvalidArgumentError(f"{name} has dtype {tensor.dtype}, which no tensor has")
    if tensor.dtype == DTYPES[Datatype.BF16]:
        return {name: np.ascontiguousarray(tensor).view(np.uint16).reshape(tensor.shape)}
    return {name: np.asarray(tensor, order="C")}


def _element(element: object, name: str) -> bytes:
    try:
        data = element if isinstance(element, bytes) else str(element).encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"{name} has a text that is not Unicode: {error.reason}"
        ) from error
    return len(data).to_bytes(_LENGTH_BYTES, "little") + data


def _tensor(arrays: dict[str, Array], name: str, spec: TensorSpec, source: str) -> Array | None:
    """Take one tensor out of the arrays of a file."""
    where = f"{source}: {name} ('{spec.name}')"
    array = arrays.pop(name, None)
    if array is None:
        if spec.optional or name.startswith("output"):
            return None
        raise InvalidArgumentError(f"{where} is missing, and the model needs it")
    stored = {Datatype.BF16: np.dtype("<u2"), Datatype.BYTES: np.dtype("u1")}
    expected = stored.get(spec.datatype, DTYPES[spec.datatype])
    if array.dtype != expected:
        raise InvalidArgumentError(
            f"{where} is {array.dtype}, and a {spec.datatype} tensor is kept as {expected}"
        )
    if spec.datatype is Datatype.BF16:
        return array.view(DTYPES[Datatype.BF16])
    if spec.datatype is Datatype.BYTES:
        return _texts(array.tobytes(), arrays.pop(f"{name}_shape", None), where)
    if spec.datatype is Datatype.BOOL and array.view(np.uint8).size:
        _check_bools(array, where)
    return array


def _check_bools(array: Array, where: str) -> None:
    others = array.tobytes().translate(None, b"\0\1")
    if others:
        raise InvalidArgumentError(f"{where} is BOOL and has the byte {others[0]}: 0 or 1 expected")


def _texts(content: bytes, shape: Array | None, where: str) -> Array:
    if shape is None or shape.dtype != np.int64 or shape.ndim != 1 or np.any(shape < 0):
        raise InvalidArgumentError(f"{where}: its shape is missing or wrong")
    sizes = tuple(int(size) for size in shape)
    elements: list[str] = []
    at = 0
    while at < len(content):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(content[at:start], "little")
        if at > len(content):
            raise InvalidArgumentError(f"{where}: text {len(elements)} is cut off")
        try:
            elements.append(content[start:at].decode())
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(
                f"{where}: text {len(elements)} is not UTF-8: {error.reason}"
            ) from error
    if prod(sizes) != len(elements) or not is_shape(sizes):
        raise InvalidArgumentError(
            f"{where}: shape {list(sizes)[:8]} does not hold {len(elements)} texts"
        )
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(sizes)
