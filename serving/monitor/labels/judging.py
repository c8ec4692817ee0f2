"""Has a version become worse? A sequential test that may be looked at after every label. Pure.

The first labels of a version are its reference. For classes a row is bad if its class was wrong;
for numbers, if its error is above the reference's 90th percentile. The true share of bad rows in
the reference is below a bound (Chernoff; for a sample's own percentile the binomial tail is exact)
but for a chance of alpha/2. Against that bound stands evidence that the share has risen at some
moment since (`serving.monitor.sequential.share_risen`): if it has not, it reaches 2/alpha with a
chance of alpha/2 at most, whenever it is looked at. Together: a version that stays as it is has a
false alarm in its life with a chance of alpha at most, as long as rows are independent given what
came before. For that, what was found is kept from look to look (`Judged`) and each row is judged
once, however often it is read, and whichever rows are let go. An alarm is over, and the test begins
anew, when the share of bad rows among 300 more is within the bound.

Rows count in the order in which their labels were posted, so late labels come last. Weights say
nothing here. A label counts as it was when its row was judged: what was learnt of the reference,
and what was found, stays when it is corrected later.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from serving.monitor.labels.rows import BoolArray, Kind, Rows
from serving.monitor.sequential import NOTHING, ChangeEvidence, Counted, share_bound, share_risen

ALPHA: Final = 0.05
"""Chance of a false alarm in a version's life."""
REFERENCE_ROWS: Final = 300
STEP_ROWS: Final = 25
"""So many labels are judged together."""
PERCENTILE: Final = 0.9
RECENT_ROWS: Final = 300
"""An alarm is over after so many that are as those of the reference."""
MOST_NAMES: Final = 50_000
"""So many judged rows are known by name: those whose labels were posted last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReference:
    """What the first labels of a version said."""

    row_count: int
    bad_count: int
    error_limit: float | None = None
    """Of numbers: errors above this are bad."""
    row_names: tuple[str, ...] = ()
    """As `names_of` writes them: all other rows are judged."""

    @property
    def basis(self) -> str:
        """What rows are judged by."""
        return f"{self.bad_count} of {self.row_count}, {self.error_limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the rows after a reference have shown so far."""

    basis: str
    """Of the reference: what another one has shown says nothing here."""
    evidence: ChangeEvidence = field(default_factory=ChangeEvidence)
    largest: float = 0.0
    """Logarithm of the largest evidence."""
    since_s: float | None = None
    """When the first answer of the step was given in which the alarm rang, since 1970; None: it has
    not, or it is over."""
    prediction_id: str = ""
    """The last one of that step."""
    after: Counted = NOTHING
    """Bad rows since then."""
    until_s: float = 0.0
    """Rows whose first label was posted by then count as judged, and so do these:"""
    names: Mapping[str, float] = field(default_factory=dict)
    """Name → when its first label was posted."""

    def without_names(self) -> "Judged":
        """Return what is worth keeping on a disk: what is logged after its label can be missed."""
        return replace(self, until_s=max((self.until_s, *self.names.values())), names={})


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
        bad_count=int(bad_rows(first, limit).sum()),
        error_limit=limit,
        row_names=tuple(names_of(first)),
    )


def judged_rows(
    rows: Rows, reference: DropReference, before: Judged | None = None, *, alpha: float = ALPHA
) -> Judged:
    """Judge the labelled ones of some rows that were not judged yet, as far as they fill steps.

    Args:
        rows: Of one version.
        reference: What its first labels said.
        before: What was found before; None: nothing.
        alpha: Chance of a false alarm.

    Returns:
        `before` itself: there is nothing new.
    """
    basis = reference.basis
    known = before if before is not None and before.basis == basis else Judged(basis=basis)
    later = rows.labelled.in_order_of_labels()
    later = later.taken(np.flatnonzero(later.posted_s > known.until_s))
    later = without(without(later, frozenset(reference.row_names)), known.names)
    later = later.taken(slice(len(later) // STEP_ROWS * STEP_ROWS))
    if not len(later):
        return known
    found = known
    limit = limit_of(reference, alpha)
    is_bad = bad_rows(later, reference.error_limit)
    for begin in range(0, len(later), STEP_ROWS):
        step = slice(begin, begin + STEP_ROWS)
        found = _stepped(found, later.taken(step), int(is_bad[step].sum()), limit, alpha)
    names = {**known.names, **dict(zip(names_of(later), later.posted_s.tolist(), strict=True))}
    return _bounded(replace(found, names=names))


def names_of(rows: Rows) -> list[str]:
    """Name each row by its prediction and its place in that."""
    return [f"{name}/{row}" for name, row in zip(rows.ids, rows.row, strict=True)]


def _stepped(found: Judged, step: Rows, bad_count: int, limit: float, alpha: float) -> Judged:
    """Judge a step: has the share risen? After an alarm: is it as it was?"""
    rows = len(step)
    if found.since_s is not None:
        after = Counted(found.after.event_count + bad_count, found.after.all_count + rows)
        if after.all_count < RECENT_ROWS:
            return replace(found, after=after)
        if after.share > limit:
            return replace(found, after=NOTHING)
        return Judged(basis=found.basis, until_s=found.until_s)
    evidence = share_risen(found.evidence, Counted(bad_count, rows), limit)
    found = replace(found, evidence=evidence, largest=max(found.largest, evidence.log_e))
    if evidence.log_e < math.log(2 / alpha):
        return found
    since_s = float(step.answered_s.min())
    return replace(found, since_s=since_s, prediction_id=str(step.ids[-1]), after=NOTHING)


def _bounded(judged: Judged) -> Judged:
    """Forget names beyond the bound, the oldest posts first."""
    excess = len(judged.names) - MOST_NAMES
    if excess <= 0:
        return judged
    in_order = sorted(judged.names.items(), key=lambda each: each[1])
    until_s = max(judged.until_s, in_order[excess - 1][1])
    return replace(judged, until_s=until_s, names=dict(in_order[excess:]))


def limit_of(reference: DropReference, alpha: float) -> float:
    """Return what a reference's true share of bad rows is below, but for a chance of alpha/2."""
    return share_bound(Counted(reference.bad_count, reference.row_count), alpha / 2)


def without(rows: Rows, names: Container[str]) -> Rows:
    """Leave out rows by their names."""
    return rows.taken(np.flatnonzero([name not in names for name in names_of(rows)]))


def bad_rows(known: Rows, error_limit: float | None) -> BoolArray:
    """Say which labelled rows are bad; for numbers, by what an error may be."""
    if error_limit is None:
        return np.asarray(~known.is_right)
    return np.asarray(np.abs(known.predicted - known.given) > error_limit)
