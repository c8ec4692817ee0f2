"""How good a version's answers were, by the labels that came: figures, and their way in time. Pure.

A figure without an interval is a guess: shares have Wilson's, means a bootstrap's, the area under
the ROC curve that of its rows' influence (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988).
Labels that never come are no part of any of it: `serving.predictions.labels.status` says how many
those are for each predicted class.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from serving.monitor.labels.intervals import (
    Figure,
    effective_rows,
    normal,
    root_of,
    weighted_mean,
    weighted_share,
)
from serving.monitor.labels.rows import BoolArray, FloatArray, Kind, Rows

TINY: Final = 1e-15
"""A probability of 0 counts as this in the logarithm."""
MAX_WINDOWS: Final = 200
MAX_CLASSES: Final = 100
"""So many have figures of their own: those with the most labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """How one class fared."""

    name: str
    labelled: int
    """Rows whose label it is."""
    predicted: int
    """Labelled rows that were given it."""
    precision: Figure | None
    recall: Figure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known of some labelled rows; None: there is nothing to tell it from."""

    rows: int
    accuracy: Figure | None = None
    log_loss: Figure | None = None
    auc: Figure | None = None
    """Of more than two classes: the mean of each class against all others."""
    classes: tuple[ClassFigures, ...] = ()
    mae: Figure | None = None
    rmse: Figure | None = None
    bias: Figure | None = None
    """Mean of predicted less given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of the rows, in the order of their answers."""

    begin: datetime
    end: datetime
    """Of the latest answer in it, or of the window of time."""
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How rows are cut into windows: by time, or by their number."""

    seconds: float = 0.0
    rows: int = 0


def figures_of(rows: Rows) -> Figures:
    """Judge the labelled ones of some rows."""
    known = rows.labelled
    if not len(known):
        return Figures(rows=0)
    if known.kind is Kind.NUMBER:
        error = known.predicted - known.given
        return Figures(
            rows=len(known),
            mae=weighted_mean(np.abs(error), known.weight),
            rmse=root_of(weighted_mean(error * error, known.weight)),
            bias=weighted_mean(error, known.weight),
        )
    return Figures(
        rows=len(known),
        accuracy=weighted_share(known.is_right.astype(np.float64), known.weight),
        log_loss=_log_loss(known),
        auc=None if known.scores is None else roc_area(known.scores, known.given, known.weight),
        classes=tuple(_of_classes(known)),
    )


def windows_of(rows: Rows, cut: Cut) -> tuple[Window, ...]:
    """Cut rows into windows and judge each; only those that have a label are shown.

    The latest `MAX_WINDOWS` are judged.
    """
    ordered = rows.labelled.in_order_of_answers()
    if not len(ordered):
        return ()
    if cut.seconds > 0:
        keys = np.floor(ordered.answered_s / cut.seconds)
    else:
        keys = np.floor(np.arange(len(ordered)) / max(cut.rows, 1))
    found = []
    for key in np.unique(keys)[-MAX_WINDOWS:]:
        part = ordered.taken(np.flatnonzero(keys == key))
        begin, end = float(part.answered_s[0]), float(part.answered_s[-1])
        if cut.seconds > 0:
            begin, end = key * cut.seconds, (key + 1) * cut.seconds
        found.append(Window(begin=_moment(begin), end=_moment(end), figures=figures_of(part)))
    return tuple(found)


def roc_area(scores: FloatArray, given: FloatArray, weight: FloatArray) -> Figure | None:
    """Return the area under the ROC curve; None: fewer than two classes have labels.

    Args:
        scores: Shape (rows, classes).
        given: Class indices, of shape (rows,).
        weight: Above 0, of shape (rows,).
    """
    columns = range(1, 2) if scores.shape[1] == 2 else range(scores.shape[1])  # noqa: PLR2004
    found = [
        _area(scores[:, column], given == column, weight)
        for column in columns
        if 0 < np.count_nonzero(given == column) < len(given)
    ]
    if not found:
        return None
    influence = np.mean([each.influence for each in found], axis=0)
    value = float(np.mean([each.value for each in found]))
    deviation = float(np.sqrt(np.square(weight * influence).sum()) / weight.sum())
    return normal(value, deviation, effective_rows(weight))


@dataclass(frozen=True, slots=True)
class _Area:
    value: float
    influence: FloatArray


def _area(score: FloatArray, is_positive: BoolArray, weight: FloatArray) -> _Area:
    """Area and each row's influence on it, by mid-ranks."""
    is_negative = ~is_positive
    placed = np.empty(len(score))
    placed[is_positive] = _share_below(score, weight, is_negative)
    placed[is_negative] = 1 - _share_below(score, weight, is_positive)
    value = float(np.average(placed[is_positive], weights=weight[is_positive]))
    positive_share = weight[is_positive].sum() / weight.sum()
    share = np.where(is_positive, positive_share, 1 - positive_share)
    return _Area(value, np.asarray((placed - value) / share))


def _share_below(score: FloatArray, weight: FloatArray, is_other: BoolArray) -> FloatArray:
    """Share of the other rows, by weight, below each of the rest; ties count half."""
    order = np.argsort(score[is_other], kind="stable")
    ordered, values = score[is_other][order], score[~is_other]
    below = np.concatenate(([0.0], np.cumsum(weight[is_other][order])))
    left = below[np.searchsorted(ordered, values, side="left")]
    right = below[np.searchsorted(ordered, values, side="right")]
    return np.asarray((left + right) / (2 * below[-1]), dtype=np.float64)


def _log_loss(known: Rows) -> Figure | None:
    if known.scores is None:
        return None
    chance = known.scores[np.arange(len(known)), known.given.astype(np.int64)]
    return weighted_mean(-np.log(np.maximum(chance, TINY)), known.weight)


def _of_classes(known: Rows) -> Iterator[ClassFigures]:
    counts = np.bincount(known.given.astype(np.int64), minlength=len(known.classes))
    told = np.bincount(known.predicted.astype(np.int64), minlength=len(known.classes))
    shown = [index for index in np.argsort(-counts, kind="stable") if counts[index] or told[index]]
    right = known.is_right.astype(np.float64)
    for index in sorted(shown[:MAX_CLASSES]):
        is_told, is_given = known.predicted == index, known.given == index
        yield ClassFigures(
            name=known.classes[index],
            labelled=int(counts[index]),
            predicted=int(told[index]),
            precision=weighted_share(right[is_told], known.weight[is_told]),
            recall=weighted_share(right[is_given], known.weight[is_given]),
        )


def _moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
