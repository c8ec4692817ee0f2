"""How good answers without labels are likely to be: confidence-based performance estimation. Pure.

The scores of rows that have labels are calibrated for each class by isotonic regression, and what
the calibrated scores of the other rows say of their own answers is added up: the expected share of
right ones, and the expected precision and recall of each class.

It holds if the inputs may have changed and the relation of inputs to labels has not (covariate
shift, no concept drift), and only if the rows with labels are like those without in that relation.
Its interval has the chance of the rows and that of the calibration, not a breach of this. Where it
cannot be trusted, there is a reason instead of a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.monitor.labels.intervals import SEED, Figure, normal
from serving.monitor.labels.isotonic import fit_isotonic
from serving.monitor.labels.rows import FloatArray, IntArray, Kind, Rows

MIN_ROWS: Final = 300
MIN_CALIBRATION_ROWS: Final = 300
MIN_CLASS_LABELS: Final = 5
MAX_CALIBRATION_ROWS: Final = 20_000
RESAMPLES: Final = 40
ASSUMPTION: Final = (
    "holds if inputs changed and what they mean did not (covariate shift only, no concept drift), "
    "and if rows with labels are like those without"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassEstimate:
    """What is expected of one class; None: it is not expected to come at all."""

    name: str
    expected_rows: float
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is expected of rows that have no label yet: an estimate, no measurement."""

    rows: int
    calibration_rows: int
    unavailable: str = ""
    """Why there is no number; empty: there is one."""
    accuracy: Figure | None = None
    classes: tuple[ClassEstimate, ...] = ()
    assumption: str = ASSUMPTION


def estimate_of(rows: Rows, alarms: Sequence[str] = ()) -> Estimate:
    """Estimate what the unlabelled ones of some rows are like.

    Args:
        rows: Of one version; those with labels are the calibration set.
        alarms: What is wrong with the data now: missing or never seen values.
    """
    known, asked = rows.labelled, rows.unlabelled
    why = _why_not(known, asked, alarms)
    if why or known.scores is None or asked.scores is None:
        return Estimate(rows=len(asked), calibration_rows=len(known), unavailable=why)
    reference = Scored(known.scores, known.given.astype(np.int64))
    return expected(reference, asked.scores, asked.predicted.astype(np.int64), rows.classes)


@dataclass(frozen=True, slots=True)
class Scored:
    """A calibration set."""

    scores: FloatArray
    given: IntArray


def expected(
    reference: Scored, scores: FloatArray, predicted: IntArray, classes: Sequence[str]
) -> Estimate:
    """Estimate the share of right answers, and each class's precision and recall.

    Args:
        reference: Scores with labels.
        scores: Probabilities of the rows asked about, of shape (rows, classes).
        predicted: Their class indices.
        classes: Names.
    """
    random = np.random.default_rng(SEED)
    if len(reference.given) > MAX_CALIBRATION_ROWS:
        chosen = random.choice(len(reference.given), MAX_CALIBRATION_ROWS, replace=False)
        reference = Scored(reference.scores[chosen], reference.given[chosen])
    chances = calibrated(reference, scores)
    at = np.arange(len(predicted))
    right = chances[at, predicted]
    others = []
    for _ in range(RESAMPLES):
        chosen = random.integers(0, len(reference.given), len(reference.given))
        again = Scored(reference.scores[chosen], reference.given[chosen])
        others.append(float(calibrated(again, scores)[at, predicted].mean()))
    chance_of_rows = float((right * (1 - right)).mean()) / len(right)
    deviation = float(np.sqrt(chance_of_rows + np.var(others)))
    return Estimate(
        rows=len(predicted),
        calibration_rows=len(reference.given),
        accuracy=normal(float(right.mean()), deviation, float(len(right))),
        classes=_classes(chances, predicted, classes),
    )


def calibrated(reference: Scored, scores: FloatArray) -> FloatArray:
    """Return what scores mean by the labels of the reference, as probabilities that sum to 1."""
    count = scores.shape[1]
    if count == 2:  # noqa: PLR2004  one column says both
        second = _curve(reference, scores, 1)
        return np.stack((1 - second, second), axis=1)
    columns = np.stack([_curve(reference, scores, column) for column in range(count)], axis=1)
    sums = columns.sum(axis=1, keepdims=True)
    return np.where(sums > 0, columns / np.where(sums > 0, sums, 1), 1 / count)


def _curve(reference: Scored, scores: FloatArray, column: int) -> FloatArray:
    is_it = (reference.given == column).astype(np.float64)
    return fit_isotonic(reference.scores[:, column], is_it).at(scores[:, column])


def _classes(
    chances: FloatArray, predicted: IntArray, classes: Sequence[str]
) -> tuple[ClassEstimate, ...]:
    """Read precision and recall off the expected confusion."""
    found = []
    for at, name in enumerate(classes):
        is_told = predicted == at
        hits, told = float(chances[is_told, at].sum()), int(is_told.sum())
        there = float(chances[:, at].sum())
        found.append(
            ClassEstimate(
                name=name,
                expected_rows=there,
                precision=hits / told if told else None,
                recall=hits / there if there > 0 else None,
            )
        )
    return tuple(found)


def _why_not(known: Rows, asked: Rows, alarms: Sequence[str]) -> str:
    """Return why nothing can be said; empty if it can."""
    reasons = (
        "it predicts numbers, and says no probabilities that could be calibrated"
        if known.kind is Kind.NUMBER
        else "its outputs have classes only: there are no scores to calibrate"
        if known.scores is None
        else "",
        f"the data has alarms ({'; '.join(alarms)}): scores mean something else now"
        if alarms
        else "",
        f"no calibration set: {len(known)} rows have labels, {MIN_CALIBRATION_ROWS} are needed"
        if len(known) < MIN_CALIBRATION_ROWS
        else "",
        f"{len(asked)} rows have no label yet, {MIN_ROWS} are needed"
        if len(asked) < MIN_ROWS
        else "",
    )
    return next(filter(None, reasons), "") or _without_labels(known, asked)


def _without_labels(known: Rows, asked: Rows) -> str:
    counts = np.bincount(known.given.astype(np.int64), minlength=len(known.classes))
    told = np.bincount(asked.predicted.astype(np.int64), minlength=len(known.classes))
    is_bare = (told > 0) & (counts < MIN_CLASS_LABELS)
    shown = [known.classes[at] for at in np.flatnonzero(is_bare)[:5]]
    if not shown:
        return ""
    return f"classes that are predicted have under {MIN_CLASS_LABELS} labels: {', '.join(shown)}"
