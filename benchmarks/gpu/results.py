"""What was found, and what it means: rows of the table, verdicts, the exit status. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.gpu.cases import Case

LEAST_RATIO: Final = 0.95
"""Of the bare engine's rows/s, at the best batch size of each."""
HELD: Final = 0
BROKEN: Final = 1
"""Served is below, a part that should have run failed, or one that was required did not run."""
NOTHING_JUDGED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One batch size in one round: the engine alone, then served, right after each other."""

    bare_rows_per_s: float
    bare_run_p50_s: float
    served_rows_per_s: float
    served_p50_s: float
    served_p99_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Every round of one batch size; figures are medians over rounds."""

    rounds: tuple[Round, ...]
    connections: int

    @property
    def bare_rows_per_s(self) -> float:
        """Rows/s of the engine alone."""
        return median(one.bare_rows_per_s for one in self.rounds)

    @property
    def served_rows_per_s(self) -> float:
        """Rows/s through edge and worker."""
        return median(one.served_rows_per_s for one in self.rounds)

    @property
    def ratio(self) -> float:
        """Served against bare of the same round."""
        return median(one.served_rows_per_s / one.bare_rows_per_s for one in self.rounds)

    @property
    def p50_s(self) -> float:
        """Time of a call, served."""
        return median(one.served_p50_s for one in self.rounds)

    @property
    def p99_s(self) -> float:
        """Time that one call in a hundred exceeds, served."""
        return median(one.served_p99_s for one in self.rounds)


@dataclass(frozen=True, slots=True)
class Skipped:
    """This node cannot run it; nothing is wrong with what was to be measured."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It should have run here, and did not."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    case: Case
    batch_rows: int
    found: Measured | Skipped | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """The most that served and bare give, each at the batch size that suits it."""

    case: Case
    bare_rows_per_s: float
    bare_batch_rows: int
    served_rows_per_s: float
    served_batch_rows: int
    ratio: float
    """Median over rounds of the round's most served against its most bare."""

    @property
    def holds(self) -> bool:
        """Whether serving leaves enough of the engine."""
        return self.ratio >= LEAST_RATIO


def rows_without(case: Case, batches: Sequence[int], found: Skipped | Failed) -> list[Row]:
    """Return the lines of a case that gave no figures."""
    return [Row(case=case, batch_rows=size, found=found) for size in batches]


def verdicts(rows: Sequence[Row]) -> list[Saturation]:
    """Judge every case all of whose batch sizes were measured, in the order in which they came."""
    return [
        saturation(case, [row for row in rows if row.case == case])
        for case in dict.fromkeys(row.case for row in rows)
        if all(isinstance(row.found, Measured) for row in rows if row.case == case)
    ]


def saturation(case: Case, rows: Sequence[Row]) -> Saturation:
    """Judge one case by its measured lines."""
    sizes = {row.batch_rows: row.found for row in rows if isinstance(row.found, Measured)}
    bare = max(sizes, key=lambda size: sizes[size].bare_rows_per_s)
    served = max(sizes, key=lambda size: sizes[size].served_rows_per_s)
    ratios = [
        max(one.served_rows_per_s for one in of_round)
        / max(one.bare_rows_per_s for one in of_round)
        for of_round in zip(*(found.rounds for found in sizes.values()), strict=True)
    ]
    return Saturation(
        case=case,
        bare_rows_per_s=sizes[bare].bare_rows_per_s,
        bare_batch_rows=bare,
        served_rows_per_s=sizes[served].served_rows_per_s,
        served_batch_rows=served,
        ratio=median(ratios),
    )


def exit_status(rows: Sequence[Row], *, is_cuda_required: bool) -> int:
    """Return 0 where all that was judged holds, 1 where not, 3 where nothing could be judged."""
    judged = verdicts(rows)
    is_cuda_missing = not any(one.case.device == "cuda" for one in judged)
    if any(isinstance(row.found, Failed) for row in rows):
        return BROKEN
    if not all(one.holds for one in judged) or (is_cuda_required and is_cuda_missing):
        return BROKEN
    return HELD if judged else NOTHING_JUDGED
