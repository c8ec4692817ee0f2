"""What is said of a version that may have become worse (`serving.monitor.labels.judging`). Pure."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from serving.monitor.labels.intervals import Figure, wilson
from serving.monitor.labels.judging import (
    ALPHA,
    RECENT_ROWS,
    REFERENCE_ROWS,
    DropReference,
    Judged,
    bad_rows,
    judged_rows,
    limit_of,
    reference_of,
    without,
)
from serving.monitor.labels.rows import Kind, Rows


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
    rows: Rows,
    reference: DropReference | None = None,
    judged: Judged | None = None,
    *,
    alpha: float = ALPHA,
    learns: bool = True,
) -> DropReport:
    """Judge the labelled ones of some rows.

    Args:
        rows: Of one version.
        reference: What its first labels said; None: the first of these rows are those.
        judged: What was found before; None: nothing.
        alpha: Chance of a false alarm.
        learns: False: these are not all rows, so without a reference nothing is said.
    """
    known = rows.labelled.in_order_of_labels()
    needed = REFERENCE_ROWS if reference is None else reference.row_count
    learnt = reference_of(known) if reference is None and learns else reference
    if learnt is None:
        return DropReport(
            state=DropState.LEARNING,
            reference_rows=len(known),
            needed_rows=needed,
            later_rows=0,
            bad=_told(known.kind, None),
            alpha=alpha,
        )
    later = without(known, frozenset(learnt.row_names))
    return _report(later, learnt, judged_rows(rows, learnt, judged, alpha=alpha), alpha)


def _report(later: Rows, reference: DropReference, judged: Judged, alpha: float) -> DropReport:
    recent = bad_rows(later, reference.error_limit)[-RECENT_ROWS:]
    share = reference.bad_count / reference.row_count
    return DropReport(
        state=DropState.STEADY if judged.since_s is None else DropState.DROPPED,
        reference_rows=reference.row_count,
        needed_rows=reference.row_count,
        later_rows=len(later),
        bad=_told(later.kind, reference.error_limit),
        reference=wilson(share, reference.row_count),
        limit=limit_of(reference, alpha),
        recent=wilson(float(recent.mean()), len(recent)) if len(recent) else None,
        log_evidence=judged.largest,
        log_needed=math.log(2 / alpha),
        alpha=alpha,
        since=None if judged.since_s is None else datetime.fromtimestamp(judged.since_s, UTC),
        prediction_id=judged.prediction_id,
    )


def _told(kind: Kind, error_limit: float | None) -> str:
    if kind is Kind.CLASSES:
        return "another class than the label"
    if error_limit is None:
        return "a larger error than the reference's 90th percentile"
    return f"an error above {error_limit:.4g}, the reference's 90th percentile"
