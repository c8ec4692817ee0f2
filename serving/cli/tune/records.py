"""What tuning measured: stages of load, trials of a scheduling, and what came of all. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from serving.registry.model_config.scheduling import Scheduling

MEMORY_MARGIN = 1.05
"""Memory that differs by less than this says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Some seconds of calls at one rate."""

    rate: float
    """Calls a second that were sent."""
    call_count: int
    failed_count: int
    """Calls that were refused or not answered."""
    p50_s: float
    p99_s: float
    client_share: float
    """Of a CPU, what sending took."""

    def holds(self, slo_s: float) -> bool:
        """Whether every call was answered, and 99 of 100 in time."""
        return self.call_count > 0 and self.failed_count == 0 and self.p99_s <= slo_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one scheduling can do."""

    scheduling: Scheduling
    stages: tuple[Stage, ...] = ()
    memory_bytes: int = 0
    """Of its workers."""
    failure: str = ""
    """Why there are no figures."""

    def best(self, slo_s: float) -> Stage | None:
        """Return the stage of the highest rate that holds; None where none does."""
        held = [stage for stage in self.stages if stage.holds(slo_s)]
        return max(held, key=lambda stage: stage.rate, default=None)

    def rate(self, slo_s: float) -> float:
        """Return the highest rate that holds, calls a second; 0 where none does."""
        found = self.best(slo_s)
        return found.rate if found else 0.0

    def least_p99_s(self) -> float:
        """Return the best p99 of any rate; infinite where nothing was answered."""
        answered = (s.p99_s for s in self.stages if s.call_count > s.failed_count)
        return min(answered, default=float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The best and the present scheduling, measured again in turns."""

    best_rates: tuple[float, ...]
    present_rates: tuple[float, ...]

    def is_better(self) -> bool:
        """Whether every run of the best is above every run of the present one."""
        return min(self.best_rates, default=0.0) > max(self.present_rates, default=0.0)

    def gain(self) -> float:
        """Return how many times the present's rate the best has, by medians; 0: not known."""
        present = median(self.present_rates) if self.present_rates else 0.0
        return median(self.best_rates) / present if present else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """All that came of tuning one version."""

    model: str
    version: int
    slo_p99_s: float
    cpus: int
    inputs: str
    """What was asked, in words."""
    budget_s: float
    """Of the search."""
    took_s: float
    """With the comparison."""
    present: Scheduling
    trials: tuple[Trial, ...]
    skipped: tuple[Scheduling, ...]
    """What the budget left no time for."""
    best: Scheduling | None
    """None: no rate of any scheduling held."""
    comparison: Comparison | None
    """None: the present one is the best, or none is."""
    notes: tuple[str, ...] = ()

    def chosen(self) -> Scheduling | None:
        """Return what to run instead of the present; None: it stays."""
        return self.best if self.comparison is not None and self.comparison.is_better() else None


def best_of(trials: Sequence[Trial], slo_s: float) -> Trial | None:
    """Return the trial of the highest rate, of equal ones that with fewest CPUs; None of none."""
    return max(
        trials,
        key=lambda one: (one.rate(slo_s), -one.scheduling.cores, -one.least_p99_s()),
        default=None,
    )


def frontier(trials: Sequence[Trial], slo_s: float) -> tuple[Trial, ...]:
    """Return the trials that no other beats: more calls cost CPUs or memory, by CPUs."""
    held = [one for one in trials if one.rate(slo_s)]
    kept = [one for one in held if not any(_beats(other, one, slo_s) for other in held)]
    return tuple(sorted(kept, key=lambda one: (one.scheduling.cores, one.rate(slo_s))))


def _beats(other: Trial, one: Trial, slo_s: float) -> bool:
    rate, own_rate = other.rate(slo_s), one.rate(slo_s)
    cores, own_cores = other.scheduling.cores, one.scheduling.cores
    fits = other.memory_bytes <= MEMORY_MARGIN * one.memory_bytes
    is_less = rate < own_rate or cores > own_cores
    return fits and not is_less and (rate > own_rate or cores < own_cores)
