"""Has a version become worse? A sequential test that may be looked at after every label. Pure.

The first labels of a version are its reference. For classes a row is bad if its class was wrong;
for numbers, if its error is above the reference's 90th percentile. The true share of bad rows in
the reference is below a bound (Chernoff; for a sample's own percentile the binomial tail is exact)
but for a chance of alpha/2. Against that bound stands evidence that the share has risen at some
moment since (`serving.monitor.sequential.share_risen`): if it has not, it reaches 2/alpha with a
chance of alpha/2 at most, whenever it is looked at. Together: among the labels that a look reads a
false alarm has a chance of alpha at most, as long as rows are independent given what came before.
The evidence is reckoned anew at each look, from what is read then: where old rows are let go and
new ones come for ever, there is no such bound for all of a version's life.

Rows count in the order in which their labels were posted, so late labels come last. Weights say
nothing here. A label that was corrected counts as it is now, but what was learnt of the reference
stays.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import numpy as np

from serving.monitor.labels.intervals import Figure, wilson
from serving.monitor.labels.rows import BoolArray, Kind, Rows
from serving.monitor.sequential import ChangeEvidence, Counted, share_bound, share_risen

ALPHA: Final = 0.05
"""Chance of a false alarm among the labels that are read."""
REFERENCE_ROWS: Final = 300
STEP_ROWS: Final = 25
"""So many labels are judged together."""
PERCENTILE: Final = 0.9
RECENT_ROWS: Final = 300


class DropState(StrEnum):
    """Where the watching of a version stands."""

    LEARNING = "learning"
    """Its reference is not complete."""
    STEADY = "steady"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReference:
    """What the first labels of a version said."""

    row_count: int
    bad_count: int
    error_limit: float | None = None
    """Of numbers: errors above this are bad."""
    row_names: tuple[str, ...] = ()
    """As `names_of` writes them: all other rows are judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReport:
    """What the test says now."""

    state: DropState
    reference_rows: int
    needed_rows: int
    """How many a reference has."""
    later_rows: int
    bad: str
    """What a bad row is."""
    reference: Figure | None = None
    """Share of bad rows in the reference."""
    limit: float | None = None
    """What the true share was below: the share that has to be passed."""
    recent: Figure | None = None
    """Share of bad rows among the latest labels."""
    log_evidence: float = 0.0
    """Largest so far."""
    log_needed: float = 0.0
    alpha: float = ALPHA
    since: datetime | None = None
    """When the first answer of the step was given in which the alarm rang."""
    prediction_id: str = ""
    """The last prediction of that step."""


def reference_of(rows: Rows, reference_rows: int = REFERENCE_ROWS) -> DropReference | None:
    """Learn from the first labelled ones of some rows; None: they are too few yet.

    Args:
        rows: Of one version.
        reference_rows: So many make a reference.
    """
    first = rows.labelled.in_order_of_labels().taken(slice(None, reference_rows))
    if len(first) < reference_rows:
        return None
    error = np.abs(first.predicted - first.given)
    is_number = first.kind is Kind.NUMBER
    limit = float(np.quantile(error, PERCENTILE, method="higher")) if is_number else None
    return DropReference(
        row_count=len(first),
        bad_count=int(_bad_rows(first, limit).sum()),
        error_limit=limit,
        row_names=tuple(names_of(first)),
    )


def drop_of(
    rows: Rows, reference: DropReference | None = None, *, alpha: float = ALPHA
) -> DropReport:
    """Judge the labelled ones of some rows.

    Args:
        rows: Of one version.
        reference: What its first labels said; None: the first of these rows are those.
        alpha: Chance of a false alarm among them.
    """
    known = rows.labelled.in_order_of_labels()
    needed = REFERENCE_ROWS if reference is None else reference.row_count
    learnt = reference_of(known) if reference is None else reference
    if learnt is None:
        return DropReport(
            state=DropState.LEARNING,
            reference_rows=len(known),
            needed_rows=needed,
            later_rows=0,
            bad=_told(known.kind, None),
            alpha=alpha,
        )
    if reference is None:
        later = known.taken(slice(needed, None))
    else:
        first = frozenset(learnt.row_names)
        is_later = [name not in first for name in names_of(known)]
        later = known.taken(np.flatnonzero(is_later))
    return _judged(later, learnt, alpha)


def names_of(rows: Rows) -> list[str]:
    """Name each row by its prediction and its place in that."""
    return [f"{name}/{row}" for name, row in zip(rows.ids, rows.row, strict=True)]


def _judged(later: Rows, reference: DropReference, alpha: float) -> DropReport:
    counted = Counted(reference.bad_count, reference.row_count)
    limit = share_bound(counted, alpha / 2)
    needed = math.log(2 / alpha)
    is_bad = _bad_rows(later, reference.error_limit)
    evidence, largest, rang_at = ChangeEvidence(), 0.0, -1
    for begin in range(0, len(later) - STEP_ROWS + 1, STEP_ROWS):
        step = is_bad[begin : begin + STEP_ROWS]
        evidence = share_risen(evidence, Counted(int(step.sum()), STEP_ROWS), limit)
        largest = max(largest, evidence.log_e)
        if evidence.log_e >= needed:
            rang_at = begin
            break
    recent = is_bad[-RECENT_ROWS:]
    has_rung = rang_at >= 0
    rung = later.taken(slice(rang_at, rang_at + STEP_ROWS)) if has_rung else None
    return DropReport(
        state=DropState.DROPPED if has_rung else DropState.STEADY,
        reference_rows=reference.row_count,
        needed_rows=reference.row_count,
        later_rows=len(later),
        bad=_told(later.kind, reference.error_limit),
        reference=wilson(counted.share, reference.row_count),
        limit=limit,
        recent=wilson(float(recent.mean()), len(recent)) if len(recent) else None,
        log_evidence=largest,
        log_needed=needed,
        alpha=alpha,
        since=None if rung is None else datetime.fromtimestamp(rung.answered_s.min(), UTC),
        prediction_id="" if rung is None else str(rung.ids[-1]),
    )


def _bad_rows(known: Rows, error_limit: float | None) -> BoolArray:
    if error_limit is None:
        return np.asarray(~known.is_right)
    return np.asarray(np.abs(known.predicted - known.given) > error_limit)


def _told(kind: Kind, error_limit: float | None) -> str:
    if kind is Kind.CLASSES:
        return "another class than the label"
    if error_limit is None:
        return "a larger error than the reference's 90th percentile"
    return f"an error above {error_limit:.4g}, the reference's 90th percentile"
