"""Columns: what the monitor of drift looks at. Every tensor is reduced to some of them.

A column has one value for each row: a number, or a level (a category or text, as bytes).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
SingleArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
AnyArray = npt.NDArray[Any]


class Role(StrEnum):
    """On which side of the model a column stands."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberColumn:
    """A number for each row; what is not there is NaN."""

    name: str
    values: FloatArray
    role: Role = Role.INPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelColumn:
    """A level for each row; what is not there is empty."""

    name: str
    values: Sequence[bytes]
    role: Role = Role.INPUT


Column = NumberColumn | LevelColumn


def as_level(value: object) -> bytes:
    """Return a value as a level: text in UTF-8, numbers as they print, nothing as empty."""
    if isinstance(value, bytes):
        return value
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124  NaN
        return b""
    return str(value).encode("utf-8", "surrogatepass")


def as_levels(values: AnyArray) -> list[bytes]:
    """Return the elements of an array, flattened, as levels."""
    return [as_level(value) for value in values.reshape(-1).tolist()]


def as_numbers(values: AnyArray) -> FloatArray:
    """Return an array in double precision, C-contiguous; what is no number is NaN."""
    if values.dtype.kind in "biuf":
        return np.ascontiguousarray(values, dtype=np.float64)
    return np.array([as_number(v) for v in values.reshape(-1).tolist()]).reshape(values.shape)


def as_number(value: object) -> float:
    """Return a value as a number; NaN if it is none."""
    try:
        return float(value) if isinstance(value, (int, float, str, bytes)) else float("nan")
    except (ValueError, OverflowError):
        return float("nan")
