"""Has a version become worse? A sequential test that may be looked at after every label. Pure.

The first labels of a version are its reference. For classes a row is bad if its class was wrong;
for numbers, if its error is above the reference's 90th percentile. The true share of bad rows in
the reference is below a bound (Chernoff; for a sample's own percentile the binomial tail is exact)
but for a chance of alpha/2. Against that bound stands evidence that the share has risen at some
moment since (`serving.monitor.sequential.share_risen`): if it has not, it reaches 2/alpha with a
chance of alpha/2 at most, whenever it is looked at. Together: a version has a false alarm, ever,
with a chance of alpha at most, as long as rows are independent given what came before.

Rows count in the order in which their labels were posted: so what was judged is never judged anew
when late labels come. Weights say nothing here. A label that was corrected counts as it is now.
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
"""Chance of a false alarm in a version's life."""
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


def drop_of(
    rows: Rows, *, alpha: float = ALPHA, reference_rows: int = REFERENCE_ROWS
) -> DropReport:
    """Judge the labelled ones of some rows.

    Args:
        rows: Of one version.
        alpha: Chance of a false alarm, ever.
        reference_rows: The first so many labels are the reference.
    """
    known = rows.labelled.in_order_of_labels()
    first = known.taken(slice(None, reference_rows))
    is_bad, told = _bad_rows(known, first)
    later = is_bad[reference_rows:]
    report = DropReport(
        state=DropState.LEARNING,
        reference_rows=len(first),
        needed_rows=reference_rows,
        later_rows=len(later),
        bad=told,
        alpha=alpha,
    )
    if len(first) < reference_rows:
        return report
    return _judged(report, known, is_bad)


def _judged(report: DropReport, known: Rows, is_bad: BoolArray) -> DropReport:
    split = report.needed_rows
    counted = Counted(int(is_bad[:split].sum()), split)
    limit = share_bound(counted, report.alpha / 2)
    needed = math.log(2 / report.alpha)
    evidence, largest, rang_at = ChangeEvidence(), 0.0, -1
    for begin in range(split, len(known) - STEP_ROWS + 1, STEP_ROWS):
        step = is_bad[begin : begin + STEP_ROWS]
        evidence = share_risen(evidence, Counted(int(step.sum()), STEP_ROWS), limit)
        largest = max(largest, evidence.log_e)
        if evidence.log_e >= needed:
            rang_at = begin
            break
    recent = is_bad[split:][-RECENT_ROWS:]
    has_rung = rang_at >= 0
    rung = known.taken(slice(rang_at, rang_at + STEP_ROWS)) if has_rung else None
    return DropReport(
        state=DropState.DROPPED if has_rung else DropState.STEADY,
        reference_rows=report.reference_rows,
        needed_rows=split,
        later_rows=report.later_rows,
        bad=report.bad,
        reference=wilson(counted.share, split),
        limit=limit,
        recent=wilson(float(recent.mean()), len(recent)) if len(recent) else None,
        log_evidence=largest,
        log_needed=needed,
        alpha=report.alpha,
        since=None if rung is None else datetime.fromtimestamp(rung.answered_s.min(), UTC),
        prediction_id="" if rung is None else str(rung.ids[-1]),
    )


def _bad_rows(known: Rows, first: Rows) -> tuple[BoolArray, str]:
    if known.kind is Kind.CLASSES:
        return np.asarray(~known.is_right), "another class than the label"
    error = np.abs(known.predicted - known.given)
    if not len(first):
        return error > 0, "a larger error than the reference's 90th percentile"
    limit = float(np.quantile(np.abs(first.predicted - first.given), PERCENTILE, method="higher"))
    return error > limit, f"an error above {limit:.4g}, the reference's 90th percentile"
