"""Rows of data that somebody brings: .csv, .parquet or .npz files, as columns by name."""

import csv
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError, UnsupportedError
from runtimes.golden import read_arrays
from serving.cli.fitting import fitted

SUFFIXES: Final = (".csv", ".parquet", ".npz")
Columns = Mapping[str, Array]


def read_columns(file: Path) -> dict[str, Array]:
    """Read a file.

    Raises:
        InvalidArgumentError: It cannot be read, or has no rows.
        UnsupportedError: What reads Parquet is not installed.
    """
    if not file.is_file():
        raise InvalidArgumentError(f"{file} is no file that can be read")
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidArgumentError(f"{file}: one of {', '.join(SUFFIXES)} is expected")
    try:
        if suffix == ".csv":
            found = _from_csv(file)
        elif suffix == ".parquet":
            found = _from_parquet(file)
        else:
            found = dict(read_arrays(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgumentError(f"{file} cannot be read: {error}") from error
    lengths = {len(array) for array in found.values() if array.ndim}
    if len(lengths) != 1 or not lengths.pop():
        raise InvalidArgumentError(f"{file}: every column must have the same rows, at least one")
    return found


def _from_csv(file: Path) -> dict[str, Array]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        names = next(reader, [])
        rows = [row for row in reader if row]
    if len(set(names)) != len(names) or not names:
        raise InvalidArgumentError(f"{file}: its first line must name every column, each once")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise InvalidArgumentError(
                f"{file}: record {number} has {len(row)} fields, and the first line {len(names)}"
            )
    return {name: _typed([row[place] for row in rows]) for place, name in enumerate(names)}


def _typed(texts: Sequence[str]) -> Array:
    """Whole numbers, else numbers with NaN for what is empty, else texts."""
    filled = [text for text in texts if text.strip()]
    try:
        if filled and len(filled) == len(texts):
            return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        if filled:
            return np.array([float(text) if text.strip() else np.nan for text in texts])
    except ValueError:
        pass
    return _object_array(texts)


def _from_parquet(file: Path) -> dict[str, Array]:
    try:
        parquet = import_module("pyarrow.parquet")  # an optional package
    except ImportError as error:
        raise UnsupportedError(
            f"{file}: Parquet needs pyarrow, which is not installed: pip install "
            "'bascule[parquet]', or bring the rows as .csv or .npz"
        ) from error
    try:
        table = parquet.read_table(file)
    except ValueError as error:  # pyarrow's ArrowInvalid is one
        raise InvalidArgumentError(f"{file} is no Parquet file: {error}") from error
    found: dict[str, Array] = {}
    for name in table.column_names:
        try:
            found[name] = _from_list(table[name].to_pylist())
        except ValueError as error:
            raise InvalidArgumentError(
                f"{file}: the rows of column '{name}' are no numbers or texts of one shape: leave "
                f"it out, or pad its lists to one length ({error})"
            ) from error
    return found


def _from_list(values: Sequence[object]) -> Array:
    if any(isinstance(value, str | bytes) for value in values):
        return _object_array(
            ["" if v is None else v.decode() if isinstance(v, bytes) else str(v) for v in values]
        )
    if any(value is None for value in values):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return np.asarray(values)


def _object_array(texts: Sequence[str]) -> Array:
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return found


def tensors_of(columns: Columns, specs: Sequence[TensorSpec], source: str) -> list[Array | None]:
    """Return the tensors of a model's inputs.

    A column is the input of its name; where a model has one matrix, columns in their order are its.

    Raises:
        InvalidArgumentError: An input is not there.
    """
    names = [spec.name for spec in specs]
    if len(specs) == 1 and names[0] not in columns and _is_matrix_of(specs[0], columns):
        matrix = [
            fitted_column(name, array, specs[0].datatype, source) for name, array in columns.items()
        ]
        return [np.column_stack(matrix)]
    found: list[Array | None] = []
    for place, spec in enumerate(specs):
        array = columns.get(spec.name, columns.get(f"input_{place}"))
        if array is None and not spec.optional:
            raise InvalidArgumentError(
                f"{source} has no column '{spec.name}': it has {', '.join(list(columns)[:10])}"
            )
        found.append(None if array is None else _fitted(array, spec, source))
    return found


def _is_matrix_of(spec: TensorSpec, columns: Columns) -> bool:
    is_matrix = len(spec.shape) == 2 and spec.shape[1] in {-1, len(columns)}  # noqa: PLR2004
    return is_matrix and spec.datatype is not Datatype.BYTES


def _fitted(array: Array, spec: TensorSpec, source: str) -> Array:
    shaped = array.reshape(len(array), 1) if array.ndim == 1 and len(spec.shape) > 1 else array
    if spec.datatype is Datatype.BYTES:
        return shaped.astype(str).astype(object)
    return fitted_column(spec.name, shaped, spec.datatype, source)


def fitted_column(name: str, array: Array, datatype: Datatype, source: str) -> Array:
    """Return numbers as a model takes them.

    Raises:
        InvalidArgumentError: A value is none, or the datatype cannot hold it.
    """
    try:
        return fitted(array, datatype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgumentError(
            f"{source}: column '{name}' is no {datatype}: {error}"
        ) from error
