"""Are the candidate's outputs distributed otherwise than the live version's? Pure.

The first rows of both arms only choose the groups, by quantiles of all of them, so that what is
tested afterwards is new. Each group is then compared with the rest, and all up to its end with all
above it: the first finds what became frequent or rare, the second what moved. Each comparison is a
two-sided test; their e-values are averaged, over the outputs, too, because an average of e-values
is one whatever joins them (a product would need independence, which parts of one whole lack).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final

from serving.monitor.output_bins import bin_end
from serving.monitor.sequential import Counted, Evidence, log_average, rate_excess
from serving.monitor.traffic import summed
from serving.rollout.engine.histograms import (
    Histogram,
    grouped,
    quantile_key,
    size,
    thinned,
    without,
)

GROUP_COUNT: Final = 8
MIN_FIRST_COUNT: Final = 100
"""Rows of each arm that choose the groups."""
MIN_ARM_COUNT: Final = 20
"""Rows of each arm in a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One output."""

    edges: tuple[int, ...] = ()
    """The last bins of all groups but the last one; empty: not chosen yet."""
    evidences: tuple[Evidence, ...] = ()
    """Each group against the rest, then all up to each edge against the rest."""
    waiting_candidate: Histogram = field(default_factory=dict)
    waiting_live: Histogram = field(default_factory=dict)
    candidate: tuple[int, ...] = ()
    """Tested rows that had each of what is compared; the last number is of all."""
    live: tuple[int, ...] = ()

    @property
    def log_e(self) -> float:
        """Of all comparisons of this output."""
        return log_average(self.evidences)

    @property
    def text(self) -> str:
        """Say where the two differ most."""
        if not self.candidate:
            return "no rows are compared yet"
        index = max(range(len(self.evidences)), key=lambda i: self.evidences[i].log_e)
        ours = Counted(self.candidate[index], self.candidate[-1])
        others = Counted(self.live[index], self.live[-1])
        return (
            f"{ours.share:.1%} of {ours.all_count:,} rows of the candidate and "
            f"{others.share:.1%} of {others.all_count:,} of the live version are "
            f"{self._where(index)}"
        )

    def _where(self, index: int) -> str:
        ends = [f"{bin_end(edge):.4g}" for edge in self.edges]
        if index > len(ends):
            return f"up to {ends[index - len(ends) - 1]}"
        if index == len(ends):
            return f"above {ends[-1]}"
        return f"up to {ends[index]}" + (f" and above {ends[index - 1]}" if index else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputShift:
    """All outputs."""

    series: Mapping[str, Series] = field(default_factory=dict)
    is_begun: bool = False
    """The first output is tested: those that appear later are not."""

    @property
    def log_e(self) -> float:
        """Of all outputs."""
        return log_average(
            tuple(evidence for one in self.series.values() for evidence in one.evidences)
        )


def shifted(
    shift: OutputShift,
    candidate: Mapping[str, Histogram],
    live: Mapping[str, Histogram],
    *,
    is_stored: bool = False,
) -> OutputShift:
    """Add sampled rows of both arms.

    Args:
        shift: Before.
        candidate: By output, rows by bin.
        live: The same.
        is_stored: The live version's rows are a store from before the flip: each window takes as
            many of them as the candidate has, and none twice.
    """
    names = {*shift.series} if shift.is_begun else {*shift.series, *candidate, *live}
    gathered = {
        name: _gathered(
            shift.series.get(name, Series()), candidate.get(name, {}), live.get(name, {})
        )
        for name in sorted(names)
    }
    if shift.is_begun:
        return replace(
            shift, series={name: _tested(one, is_stored) for name, one in gathered.items()}
        )
    ready = {name: one for name, one in gathered.items() if _row_count(one) >= MIN_FIRST_COUNT}
    if not ready:
        return OutputShift(series=gathered)
    return OutputShift(
        series={name: _chosen(one, is_stored) for name, one in ready.items()}, is_begun=True
    )


def stored(shift: OutputShift, live: Mapping[str, Histogram]) -> OutputShift:
    """Begin to draw on a store of the live version's rows; rows that wait are left out."""
    names = shift.series if shift.is_begun else live
    series = {
        name: replace(
            shift.series.get(name, Series()),
            waiting_candidate={},
            waiting_live=dict(live.get(name, {})),
        )
        for name in sorted(names)
    }
    return replace(shift, series=series)


def _gathered(series: Series, candidate: Histogram, live: Histogram) -> Series:
    return replace(
        series,
        waiting_candidate=summed(series.waiting_candidate, candidate),
        waiting_live=summed(series.waiting_live, live),
    )


def _row_count(series: Series) -> int:
    return min(size(series.waiting_candidate), size(series.waiting_live))


def _chosen(series: Series, is_stored: bool) -> Series:  # noqa: FBT001  of `shifted`
    """Choose the groups, and forget the rows that chose them."""
    live = _taken(series, is_stored)
    first = summed(series.waiting_candidate, live)
    top = max(first)
    found = {quantile_key(first, step / GROUP_COUNT) for step in range(1, GROUP_COUNT)}
    edges = tuple(sorted(edge for edge in found if edge < top)) or (top - 1, top)
    return Series(
        edges=edges,
        evidences=(Evidence(is_two_sided=True),) * (2 * len(edges) + 1),
        waiting_live=without(series.waiting_live, live),
    )


def _tested(series: Series, is_stored: bool) -> Series:  # noqa: FBT001  of `shifted`
    """Close the window, if both arms have enough rows."""
    if _row_count(series) < MIN_ARM_COUNT:
        return series
    live = _taken(series, is_stored)
    count, other_count = size(series.waiting_candidate), size(live)
    parts = _events(grouped(series.waiting_candidate, series.edges))
    others = _events(grouped(live, series.edges))
    return replace(
        series,
        evidences=tuple(
            rate_excess(before, candidate=Counted(one, count), live=Counted(other, other_count))
            for before, one, other in zip(series.evidences, parts, others, strict=True)
        ),
        waiting_candidate={},
        waiting_live=without(series.waiting_live, live),
        candidate=_plus(series.candidate, (*parts, count)),
        live=_plus(series.live, (*others, other_count)),
    )


def _taken(series: Series, is_stored: bool) -> Histogram:  # noqa: FBT001  of `shifted`
    """Return which of the live version's rows a window uses."""
    if not is_stored:
        return series.waiting_live
    number = series.candidate[-1] if series.candidate else 0
    return thinned(series.waiting_live, size(series.waiting_candidate), (number,))


def _plus(before: tuple[int, ...], counts: tuple[int, ...]) -> tuple[int, ...]:
    if not before:
        return counts
    return tuple(one + other for one, other in zip(before, counts, strict=True))


def _events(groups: tuple[int, ...]) -> tuple[int, ...]:
    """What is compared: each group, then all up to each edge."""
    return (*groups, *tuple(accumulate(groups))[:-1])
