"""Labels that look wrong, by confident learning (Northcutt, Jiang, Chuang, JAIR 70, 2021). Pure.

A class's threshold is the mean of its probability over the rows labelled with it. A row counts
confidently for a class whose probability reaches that class's threshold, for the most probable of
them if there are several. A label of another class than that is a suspect. The list begins with
those whose given class is furthest behind another one.

The probabilities must be of a model that has not learnt from these labels. Those of a served
version qualify, unless it was trained on the rows that it answers. Nothing is relabelled: a list is
for people to look through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.monitor.labels.rows import FloatArray, IntArray, Rows

MIN_ROWS: Final = 50
SHOWN_CLASSES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChance:
    """How probable a class was to the model."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A label that looks wrong."""

    prediction_id: str
    row: int
    given: str
    likely: str
    """The class that the model is confident of."""
    predicted: str
    margin: float
    """Probability of the given class less that of the best other one: the lower the more likely."""
    probabilities: tuple[ClassChance, ...]
    """The most probable classes, and the given one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidentClass:
    """When a row counts confidently for a class."""

    name: str
    labelled: int
    threshold: float | None
    """None: no row is labelled with it."""


def thresholds_of(scores: FloatArray, given: IntArray) -> FloatArray:
    """Return the threshold of each class; infinite for one that no label names.

    Args:
        scores: Probabilities, of shape (rows, classes).
        given: The labels' class indices, of shape (rows,).
    """
    count = scores.shape[1]
    labelled = np.bincount(given, minlength=count)
    own = np.bincount(given, weights=scores[np.arange(len(given)), given], minlength=count)
    return np.where(labelled > 0, own / np.maximum(labelled, 1), np.inf)


def ranked_suspects(scores: FloatArray, given: IntArray) -> IntArray:
    """Return the indices of rows whose labels look wrong, the most likely first."""
    is_confident = scores >= thresholds_of(scores, given)
    likely = np.argmax(np.where(is_confident, scores, -1.0), axis=1)
    found = np.flatnonzero(is_confident.any(axis=1) & (likely != given))
    order = np.argsort(margins_of(scores, given)[found], kind="stable")
    return np.asarray(found[order], dtype=np.int64)


def margins_of(scores: FloatArray, given: IntArray) -> FloatArray:
    """Return how far the given class is before the best other one."""
    rows = np.arange(len(given))
    others = scores.copy()
    others[rows, given] = -np.inf
    return np.asarray(scores[rows, given] - others.max(axis=1))


def suspects_of(rows: Rows, most: int | None = None) -> tuple[Suspect, ...]:
    """List the labels of some rows that look wrong; empty without probabilities.

    Args:
        rows: Of one version, labelled or not.
        most: At most so many; None: all.
    """
    known = rows.labelled
    if known.scores is None or len(known) < MIN_ROWS:
        return ()
    given = known.given.astype(np.int64)
    margins, scores = margins_of(known.scores, given), known.scores
    limits = thresholds_of(scores, given)
    likely = np.argmax(np.where(scores >= limits, scores, -1.0), axis=1)
    return tuple(
        Suspect(
            prediction_id=str(known.ids[at]),
            row=int(known.row[at]),
            given=known.classes[given[at]],
            likely=known.classes[likely[at]],
            predicted=known.classes[int(known.predicted[at])],
            margin=float(margins[at]),
            probabilities=_shown(scores[at], known.classes, int(given[at])),
        )
        for at in ranked_suspects(scores, given)[:most]
    )


def confident_classes(rows: Rows) -> tuple[ConfidentClass, ...]:
    """Return the thresholds by which suspects are told."""
    known = rows.labelled
    if known.scores is None:
        return ()
    given = known.given.astype(np.int64)
    limits = thresholds_of(known.scores, given)
    counts = np.bincount(given, minlength=len(known.classes))
    return tuple(
        ConfidentClass(
            name=name,
            labelled=int(counts[at]),
            threshold=float(limits[at]) if np.isfinite(limits[at]) else None,
        )
        for at, name in enumerate(known.classes)
    )


def _shown(scores: FloatArray, classes: Sequence[str], given: int) -> tuple[ClassChance, ...]:
    best = np.argsort(-scores, kind="stable")[:SHOWN_CLASSES].tolist()
    shown = best if given in best else [*best, given]
    return tuple(ClassChance(name=classes[at], probability=float(scores[at])) for at in shown)
