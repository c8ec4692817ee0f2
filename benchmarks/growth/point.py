"""A measured size, and how cost grows from size to size. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One size of something that grows, medians over rounds."""

    series: str
    """What was asked: a line of the plot."""
    size: int
    per_s: float
    """Requests, or runs of the engine."""
    p50_s: float
    p99_s: float
    cpu_s: float = 0.0
    """CPU time of all processes of the instance, for a request; 0: not measured."""
    memory_bytes: int = 0
    """Of all processes of the instance; 0: not measured."""
    failures: tuple[str, ...] = ()


def medians(rounds: Sequence[Point]) -> list[Point]:
    """Put the rounds of each series and size together, in the order in which they first came."""
    keys = dict.fromkeys((one.series, one.size) for one in rounds)
    return [_median([one for one in rounds if (one.series, one.size) == key]) for key in keys]


def exponent(points: Sequence[Point], series: str) -> float:
    """Return the steepest growth of a request's p50 between two sizes: 1 is linear.

    Sizes are those of a series in order; 0 where it has fewer than two.
    """
    own = sorted((one for one in points if one.series == series), key=lambda one: one.size)
    slopes = (
        math.log(more.p50_s / less.p50_s) / math.log(more.size / less.size)
        for less, more in pairwise(own)
        if less.p50_s > 0 and more.p50_s > 0
    )
    return max(slopes, default=0.0)


def _median(rounds: Sequence[Point]) -> Point:
    first = rounds[0]
    return Point(
        series=first.series,
        size=first.size,
        per_s=median(one.per_s for one in rounds),
        p50_s=median(one.p50_s for one in rounds),
        p99_s=median(one.p99_s for one in rounds),
        cpu_s=median(one.cpu_s for one in rounds),
        memory_bytes=round(median(one.memory_bytes for one in rounds)),
        failures=tuple(failure for one in rounds for failure in one.failures),
    )
