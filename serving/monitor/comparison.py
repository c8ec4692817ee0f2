"""What comparing a version's answers with another's has shown so far. Pure records.

A *candidate* version answers copies of calls that another version, the live one, has answered; the
two answers are compared row by row. Live workers know what they copied and dropped, the candidate's
workers what they compared: each reports its part, and parts of one pair add up.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Final, NamedTuple

WORST_ROWS: Final = 10
"""So many rows of a comparison are kept."""


class Pair(NamedTuple):
    """Who is compared with whom."""

    model: str
    version: int
    """The candidate."""
    against: int
    """The live version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDifference:
    """One output over all compared rows."""

    mismatched_rows: int = 0
    largest_absolute_error: float = 0.0
    largest_relative_error: float = 0.0

    def __add__(self, other: "OutputDifference") -> "OutputDifference":
        """Return what both have seen."""
        return OutputDifference(
            mismatched_rows=self.mismatched_rows + other.mismatched_rows,
            largest_absolute_error=max(self.largest_absolute_error, other.largest_absolute_error),
            largest_relative_error=max(self.largest_relative_error, other.largest_relative_error),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstRow:
    """A row whose answer differed."""

    output: str
    row: int
    """Its place in its call."""
    score: float
    """How far it is off: rows are ranked by it (`runtimes.row_comparison.RowComparison.scores`)."""
    expected: str
    """What the live version gave, from the element on that is farthest off."""
    found: str
    inputs: str
    """The row's inputs, or their beginning."""
    request_sha256: str
    """Of the bytes of the call's request."""
    request_id: str = ""
    """As the caller named the call."""
    reason: str = ""
    """Why nothing could be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """How a candidate's answers compare with those of the live version."""

    model: str
    version: int
    """The candidate."""
    against: int
    """The live version."""
    compared_calls: int = 0
    """Calls that the candidate has answered. Its own statistics (`nv_inference_*`) count them, too;
    what guardrails see of its traffic (`serving.monitor.traffic`) is without them."""
    compared_rows: int = 0
    mismatched_rows: int = 0
    """Rows of which at least one output is outside its tolerance."""
    failed_calls: int = 0
    """Calls that the live version has answered and the candidate could not: no rows of them are
    compared."""
    failure: str = ""
    """Why the last of them failed."""
    copied_calls: int = 0
    """Calls that a live worker has chosen to copy, dropped ones included."""
    dropped_calls: int = 0
    """Copies that were not compared, which says nothing about the answers: the queue was full, or
    the candidate's worker was away, too slow, or busy."""
    outputs: Mapping[str, OutputDifference] = field(default_factory=dict)
    worst: tuple[WorstRow, ...] = ()
    """At most `WORST_ROWS` rows, the worst first."""

    @property
    def pair(self) -> Pair:
        """Who is compared with whom."""
        return Pair(self.model, self.version, self.against)


def merge_comparisons(parts: Iterable[ComparisonReport]) -> tuple[ComparisonReport, ...]:
    """Add up the reports of all workers; one report for each pair."""
    merged: dict[Pair, ComparisonReport] = {}
    for part in parts:
        before = merged.get(part.pair)
        merged[part.pair] = part if before is None else _sum(before, part)
    return tuple(merged.values())


def worst_rows(rows: Iterable[WorstRow]) -> tuple[WorstRow, ...]:
    """Keep the worst rows."""
    return tuple(nlargest(WORST_ROWS, rows, key=lambda row: row.score))


def _sum(one: ComparisonReport, other: ComparisonReport) -> ComparisonReport:
    names = (*one.outputs, *(name for name in other.outputs if name not in one.outputs))
    nothing = OutputDifference()
    return ComparisonReport(
        model=one.model,
        version=one.version,
        against=one.against,
        compared_calls=one.compared_calls + other.compared_calls,
        compared_rows=one.compared_rows + other.compared_rows,
        mismatched_rows=one.mismatched_rows + other.mismatched_rows,
        failed_calls=one.failed_calls + other.failed_calls,
        failure=other.failure or one.failure,
        copied_calls=one.copied_calls + other.copied_calls,
        dropped_calls=one.dropped_calls + other.dropped_calls,
        outputs={
            name: one.outputs.get(name, nothing) + other.outputs.get(name, nothing)
            for name in names
        },
        worst=worst_rows((*one.worst, *other.worst)),
    )
