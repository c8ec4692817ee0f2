"""Rows in a file: a CSV table with a heading, or an npz with an array for each tensor."""

import csv
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.columns import AnyArray, as_number


def read_rows(file: Path) -> dict[str, AnyArray]:
    """Read tensors of equally many rows, by name.

    Columns of a CSV are as they are written; an empty field is a missing value.

    Raises:
        InvalidArgumentError: It cannot be read, or has no rows, or not equally many.
    """
    try:
        tensors = _read_npz(file) if file.suffix == ".npz" else _read_csv(file)
    except (OSError, ValueError, KeyError, csv.Error, zipfile.BadZipFile) as error:
        raise InvalidArgumentError(
            f"the rows in {file} cannot be read ({error}): give a CSV table with a heading, or an "
            "npz with an array for each tensor, without Python objects"
        ) from error
    counts = {name: len(values) if values.ndim else 0 for name, values in tensors.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise InvalidArgumentError(
            f"{file} has {counts} rows: every tensor needs equally many, and there must be some"
        )
    return tensors


def told_apart(tensors: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Turn columns of text into numbers where everything that is there is a number."""
    return {name: _numbers_or_text(values) for name, values in tensors.items()}


def _numbers_or_text(values: AnyArray) -> AnyArray:
    if values.dtype.kind != "O":
        return values
    numbers = [as_number(value) for value in values.tolist()]
    pairs = zip(values.tolist(), numbers, strict=True)
    is_text = any(value != "" and math.isnan(n) and value.lower() != "nan" for value, n in pairs)
    return values if is_text else np.array(numbers)


def _read_npz(file: Path) -> dict[str, AnyArray]:
    with np.load(file, allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}


def _read_csv(file: Path) -> dict[str, AnyArray]:
    with file.open(newline="", encoding="utf-8") as opened:
        heading, *lines = list(csv.reader(opened, strict=True))
    ragged = [number for number, line in enumerate(lines, 2) if len(line) != len(heading)]
    if ragged:
        raise ValueError(f"line {ragged[0]} has not {len(heading)} fields")
    columns: Sequence[Sequence[str]] = list(zip(*lines, strict=True)) or [() for _ in heading]
    return {
        name: np.array(column, dtype=object) for name, column in zip(heading, columns, strict=True)
    }
