"""Pure: when a node's load is told of, and when it is over. Nothing is told of a moment.

A condition begins when a figure has been at or above its upper limit for half a minute, and ends
when it has been at or below its lower limit for a whole one. Between the limits all stays as it is,
so a figure that swings about one limit is told of once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from runtimes.node_load import LoadCounters
from serving.monitor.environment.records import Condition

US_PER_S: Final = 1e6


@dataclass(frozen=True, slots=True)
class Limit:
    """Between which figures a condition begins and ends."""

    begin: float
    end: float
    is_ratio: bool = True


BEGIN_S: Final = 30.0
END_S: Final = 60.0
LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "cpu_pressure": Limit(0.60, 0.30),
        "memory_pressure": Limit(0.10, 0.03),
        "io_pressure": Limit(0.30, 0.10),
        "steal": Limit(0.10, 0.05),
        "cgroup_throttling": Limit(0.25, 0.10),
        "cpu_thermal_throttling": Limit(1.0, 0.0, is_ratio=False),
        "gpu_throttling": Limit(1.0, 0.0, is_ratio=False),
        "gpu_other_processes": Limit(1.0, 0.0, is_ratio=False),
    }
)
"""By the name of the condition; a figure that is no ratio is a count in one look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latch:
    """Where one condition stands."""

    calm: float = 0.0
    """The latest figure that was below the upper limit."""
    asked_s: float = 0.0
    """For how long all looks have asked for a change."""
    condition: Condition | None = None
    """None: all is well."""


Latches = Mapping[tuple[str, str], Latch]
"""By name and subject of the condition."""


def load_figures(before: LoadCounters, after: LoadCounters, elapsed_s: float) -> dict[str, float]:
    """Return what was measured between two looks, by condition; what is not told is left out."""
    figures = {
        f"{name}_pressure": (total - before.stalled_us[name]) / (elapsed_s * US_PER_S)
        for name, total in after.stalled_us.items()
        if name in before.stalled_us and elapsed_s > 0
    }
    steal = _share(before.steal_ticks, after.steal_ticks, before.ticks, after.ticks)
    throttled = _share(
        before.throttled_periods, after.throttled_periods, before.periods, after.periods
    )
    thermal = _difference(before.thermal_count, after.thermal_count)
    more = {"steal": steal, "cgroup_throttling": throttled, "cpu_thermal_throttling": thermal}
    return figures | {name: value for name, value in more.items() if value is not None}


def next_latches(
    latches: Latches, figures: Mapping[tuple[str, str], float], elapsed_s: float
) -> Latches:
    """Take every condition one look further; one that is not measured any more is forgotten.

    Args:
        latches: Where they stood.
        figures: What was measured since the look before, by name and subject.
        elapsed_s: Since then.
    """
    return {
        key: _next(latches.get(key, Latch()), key, figure, elapsed_s)
        for key, figure in figures.items()
    }


def standing(latches: Latches) -> tuple[Condition, ...]:
    """Return the conditions that hold now."""
    return tuple(one.condition for one in latches.values() if one.condition is not None)


def _next(latch: Latch, key: tuple[str, str], figure: float, elapsed_s: float) -> Latch:
    name, subject = key
    limit = LIMITS[name]
    calm = figure if figure < limit.begin else latch.calm
    if latch.condition is None:
        asked_s = latch.asked_s + elapsed_s if figure >= limit.begin else 0.0
        if asked_s < BEGIN_S:
            return Latch(calm=calm, asked_s=asked_s)
        begun = Condition(
            name=name,
            subject=subject,
            before=_text(latch.calm, limit),
            after=_text(figure, limit),
        )
        return Latch(calm=calm, condition=begun)
    asked_s = latch.asked_s + elapsed_s if figure <= limit.end else 0.0
    return Latch(calm=calm) if asked_s >= END_S else replace(latch, calm=calm, asked_s=asked_s)


def _text(figure: float, limit: Limit) -> str:
    return f"{figure:.0%}" if limit.is_ratio else f"{figure:g}"


def _difference(before: int | None, after: int | None) -> float | None:
    return None if before is None or after is None else float(after - before)


def _share(
    before: int | None, after: int | None, whole_before: int | None, whole_after: int | None
) -> float | None:
    part, whole = _difference(before, after), _difference(whole_before, whole_after)
    return None if part is None or whole is None or whole <= 0 else part / whole
