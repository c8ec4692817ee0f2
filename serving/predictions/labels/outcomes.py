"""Pure: from outputs and label values to the numbers that figures are computed from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.ids import natural
from serving.monitor.labels.rows import FloatArray, Kind
from serving.predictions.labels.answers import Table
from serving.predictions.labels.targets import Target

SUM_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What a version said of all rows."""

    classes: tuple[str, ...]
    predicted: FloatArray
    """NaN where the output or a score is not finite, or it names no class."""
    scores: FloatArray | None
    note: str = ""
    """How scores became probabilities; empty: they are."""


def predicted_of(
    target: Target, outputs: Mapping[str, Table], labels: Iterable[float | str]
) -> Predicted:
    """Read a version's outputs.

    Args:
        target: What labels are about.
        outputs: Tables of (rows, columns).
        labels: Every label, to know the classes where nothing else names them.

    Raises:
        InvalidArgumentError: The named classes are not as many as the scores.
    """
    if target.kind is Kind.NUMBER:
        numbers = outputs[target.value][:, 0].astype(np.float64)
        numbers[~np.isfinite(numbers)] = np.nan
        return Predicted(classes=(), predicted=numbers, scores=None)
    scores, note = (None, "") if not target.scores else _chances(target, outputs[target.scores])
    values = None if not target.value else [as_class(v) for v in outputs[target.value][:, 0]]
    classes = _classes(target, scores, values, labels)
    highest = None if scores is None else _highest(scores)
    if values is None and highest is not None:
        return Predicted(classes=classes, predicted=highest, scores=scores, note=note)
    indices = {name: index for index, name in enumerate(classes)}
    found = np.asarray([class_index(v, indices) for v in values or ()], dtype=np.float64)
    if highest is not None:
        found[np.isnan(highest)] = np.nan  # or one such row would blank all figures of scores
    return Predicted(classes=classes, predicted=found, scores=scores, note=note)


def given_of(value: float | str, target: Target, indices: Mapping[str, int]) -> float:
    """Return a label as a number, or a class's index; NaN: it is none of them."""
    if target.kind is Kind.CLASSES:
        return class_index(as_class(value), indices)
    try:
        number = float(value)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def as_class(value: object) -> str:
    """Name a class: integers are written without a fraction."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def class_index(name: str, indices: Mapping[str, int]) -> float:
    """Return a class's index by its name, or by its number where it has another name."""
    if name in indices:
        return indices[name]
    is_number = name.isascii() and name.isdecimal()
    index = natural(name) if is_number else len(indices)
    return index if index < len(indices) else float("nan")


def _classes(
    target: Target,
    scores: FloatArray | None,
    values: Sequence[str] | None,
    labels: Iterable[float | str],
) -> tuple[str, ...]:
    count = None if scores is None else scores.shape[1]
    if count is None:
        return target.classes or tuple(sorted({*(values or ()), *map(as_class, labels)}))
    if target.classes and len(target.classes) != count:
        raise InvalidArgumentError(
            f"output '{target.scores}' has {count} scores a row, and {len(target.classes)} classes "
            "are named (label_classes, or the file of class names): name each"
        )
    return target.classes or tuple(str(index) for index in range(count))


def _chances(target: Target, table: Table) -> tuple[FloatArray, str]:
    """Return scores as probabilities of all classes."""
    scores = table.astype(np.float64)
    if target.is_binary:
        one = scores[:, :1]
        if np.nanmin(one, initial=0.0) < 0 or np.nanmax(one, initial=0.0) > 1:
            with np.errstate(over="ignore"):
                one = 1 / (1 + np.exp(-one))
            return np.hstack((1 - one, one)), "scores are logits: their logistic function is used"
        return np.hstack((1 - one, one)), ""
    sums = scores.sum(axis=1, keepdims=True)
    is_spread = np.nanmin(scores, initial=0.0) >= 0
    if is_spread and np.nanmax(np.abs(sums - 1), initial=0.0) <= SUM_TOLERANCE:
        return scores / sums, ""
    with np.errstate(invalid="ignore"):
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True), (
            "scores do not sum to 1: their softmax is used"
        )


def _highest(scores: FloatArray) -> FloatArray:
    found = np.argmax(np.nan_to_num(scores, nan=-1.0), axis=1).astype(np.float64)
    found[~np.isfinite(scores).all(axis=1)] = np.nan
    return np.asarray(found)
