"""From tensors to columns: scalars, text, outputs, wide inputs and images. Pure.

    scalars     up to 64 a row: a column each
    levels      text, bytes and booleans: a column each; text of many values also by its length
    softmax     outputs that are shares of 1: largest probability, entropy, class
    embedding   wide outputs: norm, and scores on the reference's 8 principal axes
    wide        inputs of more than 64 scalars: 16 fixed random mixtures of standardised scores
    image       mean, deviation, dark and light quantiles of luminance, variance of its Laplacian

What does not have the reference's size is missing in every column.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np

from serving.monitor.drift.columns import (
    AnyArray,
    Column,
    FloatArray,
    LevelColumn,
    NumberColumn,
    Role,
    as_levels,
    as_numbers,
)
from serving.monitor.drift.image_reduction import IMAGE_STATISTICS, image_statistics, is_image
from serving.monitor.drift.level_codec import TOP_LEVELS
from serving.monitor.drift.principal_axes import MAX_ROWS, learn_axes, mixtures, scores

MAX_SCALARS: Final = 64
EMBEDDING_AXES: Final = 8
SHARE_TOLERANCE: Final = 1e-3


class Kind(StrEnum):
    """How a tensor is reduced."""

    SCALARS = "scalars"
    LEVELS = "levels"
    TEXT = "text"
    SOFTMAX = "softmax"
    EMBEDDING = "embedding"
    WIDE = "wide"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduction:
    """How one tensor becomes columns."""

    tensor: str
    role: Role
    kind: Kind
    shape: tuple[int, ...]
    """Of a row, in the reference."""
    axes: Mapping[str, FloatArray] = field(default_factory=dict)
    """What was learnt, by name: means, scales, axes, mixture."""


_WITH_AXES: Final = frozenset({Kind.EMBEDDING, Kind.WIDE})


def axes_rows(rows: int) -> int:
    """Return how many of a reference's first rows axes are learnt from."""
    return min(MAX_ROWS, max(rows // 4, 1))


def learn_reduction(tensor: str, role: Role, values: AnyArray, seed: int = 0) -> Reduction:
    """Choose how a tensor of shape (rows, *dims) is reduced, and learn what that needs."""
    shape = values.shape[1:]
    size = int(np.prod(shape))
    kind = _kind(role, values, size)
    axes: dict[str, FloatArray] = {}
    first = as_numbers(values[: axes_rows(len(values))]) if kind in _WITH_AXES else np.empty(0)
    if kind is Kind.EMBEDDING:
        axes = learn_axes(first.reshape(len(first), size), EMBEDDING_AXES)
    elif kind is Kind.WIDE:
        axes = mixtures(first.reshape(len(first), size), seed)
    return Reduction(tensor=tensor, role=role, kind=kind, shape=shape, axes=axes)


def reduce_tensor(reduction: Reduction, values: AnyArray) -> list[Column]:
    """Reduce rows. Shape (rows, *dims)."""
    rows, size = len(values), int(np.prod(reduction.shape))
    is_text = reduction.kind in {Kind.LEVELS, Kind.TEXT}
    if values.size != rows * size:
        absent = np.full((rows, *reduction.shape), b"" if is_text else np.nan)
        values = absent.astype(object) if is_text else absent
    flat = values.reshape(rows, size)
    name, role = reduction.tensor, reduction.role
    if is_text:
        return _levels(reduction, flat, size)
    numbers = as_numbers(flat)
    match reduction.kind:
        case Kind.SOFTMAX:
            return _softmax(name, role, numbers)
        case Kind.EMBEDDING:
            numbers = np.column_stack((_norms(numbers), scores(numbers, reduction.axes)))
            names = [f"{name}.norm", *(f"{name}.axis{i}" for i in range(numbers.shape[1] - 1))]
        case Kind.WIDE:
            numbers = scores(numbers, reduction.axes)
            names = [f"{name}.mixture{i}" for i in range(numbers.shape[1])]
        case Kind.IMAGE:
            numbers = image_statistics(numbers.reshape(rows, *reduction.shape))
            names = [f"{name}.{statistic}" for statistic in IMAGE_STATISTICS]
        case _:
            names = _places(name, size)
    return _numbers(role, names, numbers)


def _kind(role: Role, values: AnyArray, size: int) -> Kind:
    if values.dtype.kind in "OSUb":
        distinct = len(set(as_levels(values)))
        return Kind.TEXT if distinct > TOP_LEVELS else Kind.LEVELS
    if role is Role.INPUT and is_image(values.shape[1:]):
        return Kind.IMAGE
    if role is Role.OUTPUT and size > 1 and _are_shares(as_numbers(values)):
        return Kind.SOFTMAX
    if role is Role.OUTPUT and size > 2 * EMBEDDING_AXES:
        return Kind.EMBEDDING
    return Kind.SCALARS if size <= MAX_SCALARS else Kind.WIDE


def _are_shares(values: FloatArray) -> bool:
    flat = values.reshape(len(values), -1)
    return bool((flat >= 0).all() and (np.abs(flat.sum(axis=1) - 1) < SHARE_TOLERANCE).all())


def _places(name: str, size: int) -> list[str]:
    return [name] if size == 1 else [f"{name}[{place}]" for place in range(size)]


def _numbers(role: Role, names: list[str], values: FloatArray) -> list[Column]:
    columns = np.ascontiguousarray(values.T)
    return [
        NumberColumn(name=each, values=column, role=role)
        for each, column in zip(names, columns, strict=True)
    ]


def _levels(reduction: Reduction, flat: AnyArray, size: int) -> list[Column]:
    columns: list[Column] = []
    for place, name in enumerate(_places(reduction.tensor, size)):
        levels = as_levels(flat[:, place])
        columns.append(LevelColumn(name=name, values=levels, role=reduction.role))
        if reduction.kind is Kind.TEXT:
            lengths = np.array([len(level) for level in levels], dtype=np.float64)
            columns.append(NumberColumn(name=f"{name}.length", values=lengths, role=reduction.role))
    return columns


def _softmax(name: str, role: Role, shares: FloatArray) -> list[Column]:
    is_there = np.asarray(np.isfinite(shares).all(axis=1))
    known = np.where(is_there[:, None], shares, 0.0)
    logs = np.log(np.clip(known, 1e-30, None))
    entropy = np.where(is_there, -(known * logs).sum(axis=1), np.nan)
    top = np.where(is_there, known.max(axis=1, initial=0.0), np.nan)
    classes = known.argmax(axis=1).tolist()
    levels = [str(c).encode() if e == e else b"" for c, e in zip(classes, entropy, strict=True)]  # noqa: PLR0124  NaN
    return [
        NumberColumn(name=f"{name}.top probability", values=top, role=role),
        NumberColumn(name=f"{name}.entropy", values=entropy, role=role),
        LevelColumn(name=f"{name}.class", values=levels, role=role),
    ]


def _norms(values: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        norms: FloatArray = np.sqrt((values**2).sum(axis=1))
    return norms
