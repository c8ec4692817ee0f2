"""Tensors of a call that is typed at a terminal: from JSON, from .npy files, or made up."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from runtimes.bounded_file import read_bounded_text
from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.cli.fitting import fitted

MAX_TEXT_BYTES: Final = 256 << 20
"""Of a file of calls or of labels: more than that is brought in parts."""
SEED: Final = 20_240_229
"""Made-up values are the same each time, so that two answers can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensor:
    """An input or output with its values."""

    name: str
    datatype: Datatype
    array: Array


def tensors_from_json(text: str, specs: Sequence[TensorSpec]) -> tuple[NamedTensor, ...]:
    """Read `{"x": [[1, 2]]}`, or a request of the protocol: `{"inputs": [{"name", "data", …}]}`.

    Raises:
        InvalidArgumentError: It is neither, or names an input that the model does not have.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(f"the input is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError('the input must be a JSON object, as {"x": [[1, 2]]}')
    listed = found.get("inputs")
    if isinstance(listed, list):
        return tuple(_protocol_tensor(item, specs) for item in listed)
    return tuple(_tensor(name, value, None, specs) for name, value in found.items())


def tensors_from_files(
    files: Mapping[str, Path], specs: Sequence[TensorSpec]
) -> tuple[NamedTensor, ...]:
    """Read .npy files, by input.

    Raises:
        InvalidArgumentError: A file is no array, or the model has no such input.
    """
    return tuple(_tensor(name, _load(path), None, specs) for name, path in files.items())


def made_up_tensors(specs: Sequence[TensorSpec], rows: int) -> tuple[NamedTensor, ...]:
    """Make values that fit the specs; a free first dimension becomes `rows`, any other 1.

    Raises:
        InvalidArgumentError: They are more than fit into memory.
    """
    random = np.random.default_rng(SEED)
    tensors = []
    for spec in specs:
        free = [index for index, size in enumerate(spec.shape) if size < 0]
        shape = tuple(
            size if size >= 0 else (rows if index == 0 and free else 1)
            for index, size in enumerate(spec.shape)
        )
        try:
            array = _made_up(random, spec.datatype, shape)
        except (MemoryError, ValueError) as error:  # numpy knows a largest dimension, too
            raise InvalidArgumentError(
                f"input '{spec.name}' of shape {list(shape)} does not fit into memory: ask for less"
            ) from error
        tensors.append(NamedTensor(name=spec.name, datatype=spec.datatype, array=array))
    return tuple(tensors)


def read_text(place: str) -> str:
    """Return the text of a file, or of stdin for `-`.

    Raises:
        InvalidArgumentError: It cannot be read, or is too large.
    """
    if place == "-":
        return _stdin()
    try:
        return read_bounded_text(Path(place), MAX_TEXT_BYTES, "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        hint = ": write JSON into a file, or into - (stdin)" if place.lstrip()[:1] in "{[" else ""
        raise InvalidArgumentError(f"{place} cannot be read: {error}{hint}") from error


def _stdin() -> str:
    text = sys.stdin.read(MAX_TEXT_BYTES + 1)
    if len(text) > MAX_TEXT_BYTES:
        raise InvalidArgumentError(
            f"standard input has more than {MAX_TEXT_BYTES} characters: bring less at once"
        )
    return text


class _ProtocolInput(msgspec.Struct, frozen=True):
    name: str
    data: list[object]
    shape: list[int] | None = None


def _protocol_tensor(item: object, specs: Sequence[TensorSpec]) -> NamedTensor:
    try:
        given = msgspec.convert(item, _ProtocolInput)
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(f"inputs: {error}") from error
    return _tensor(given.name, given.data, given.shape, specs)


def _tensor(
    name: str, value: object, shape: Sequence[int] | None, specs: Sequence[TensorSpec]
) -> NamedTensor:
    spec = next((item for item in specs if item.name == name), None)
    if spec is None:
        known = ", ".join(item.name for item in specs)
        raise InvalidArgumentError(f"the model has no input '{name}': it takes {known}")
    try:
        array = _array(value, spec.datatype)
        array = array if shape is None else array.reshape(tuple(shape))
    except (ValueError, TypeError, ArithmeticError) as error:
        raise InvalidArgumentError(
            f"input '{name}' is no {spec.datatype} tensor: {error}"
        ) from error
    if spec.datatype is Datatype.BYTES and not all(isinstance(item, str) for item in array.flat):
        raise InvalidArgumentError(f"input '{name}' is BYTES: every element must be a text")
    return NamedTensor(name=name, datatype=spec.datatype, array=np.ascontiguousarray(array))


def _array(value: object, datatype: Datatype) -> Array:
    if datatype is Datatype.BYTES:
        return np.asarray(value, dtype=DTYPES[datatype])
    if isinstance(value, np.ndarray):
        return fitted(value, datatype)
    with np.errstate(over="raise"):
        array = np.asarray(value, dtype=DTYPES[datatype])
    if array.dtype.kind in "iub":
        for item in np.asarray(value, dtype=object).flat:
            if isinstance(item, float) and not item.is_integer():
                raise ValueError(f"{item} is no whole number")
    return array


def _load(path: Path) -> Array:
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise InvalidArgumentError(
            f"{path} says that it holds more than fits into memory: write less into a file"
        ) from error
    except (ValueError, EOFError) as error:
        raise InvalidArgumentError(
            f"{path} is no .npy file of numbers or text (pickled objects are never read)"
        ) from error
    if not isinstance(array, np.ndarray):  # a .npz of several
        array.close()
        raise InvalidArgumentError(f"{path} is no .npy file: write each of its arrays by np.save")
    if array.dtype.kind in "SU":
        return array.astype(np.str_).astype(object)
    return array


def _made_up(random: np.random.Generator, datatype: Datatype, shape: tuple[int, ...]) -> Array:
    if datatype is Datatype.BYTES:
        texts = np.empty(shape, dtype=object)
        texts.fill("text")
        return texts
    if datatype in {Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64}:
        return np.asarray(random.standard_normal(shape)).astype(DTYPES[datatype])
    most = 2 if datatype is Datatype.BOOL else 10
    return np.asarray(random.integers(0, most, shape)).astype(DTYPES[datatype])
