"""What running a model costs: times of warm runs, and memory over many runs with many shapes.

No verdict: `runtimes.preflight.running` has the limits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import psutil

from runtimes.contract import Array, LoadedModel, TensorSpec
from runtimes.errors import EngineError, InvalidArgumentError
from runtimes.generated_feeds import make_feeds
from runtimes.preflight.trial import Growth, Latency

LATENCY_RUNS: Final = 30
SETTLING_RUNS: Final = 3
GROWTH_RUNS: Final = 50
LONGEST_S: Final = 10.0
"""Runs that would take longer are not made."""


def host_bytes() -> int:
    """Return the memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """A model that ran once, and how to measure it."""

    model: LoadedModel
    inputs: tuple[TensorSpec, ...]
    """As callers see them."""
    max_batch_rows: int
    free_size: int
    """The size of free dimensions that it took."""
    run_s: float
    """Of one row."""
    now_s: Callable[[], float]
    used_bytes: Callable[[], int] = host_bytes

    def latencies(self) -> tuple[Latency, ...]:
        """Time warm runs of one row and of the largest batch; what fails is left out."""
        found = []
        for rows in sorted({1, max(1, self.max_batch_rows)}):
            feeds = self._feeds(rows, self.free_size)
            if feeds is None or self.run_s * rows * LATENCY_RUNS > LONGEST_S:
                continue
            taken = self._times(feeds)
            if taken:
                p99_s = sorted(taken)[ceil(0.99 * len(taken)) - 1]
                found.append(Latency(rows=rows, run_count=len(taken), p99_s=p99_s))
        return tuple(found)

    def growth(self) -> Growth | None:
        """Run many shapes, the largest first, and compare memory; None where they do not run."""
        shapes = self._shapes()
        if self.run_s * max(rows for rows, _ in shapes) * GROWTH_RUNS > LONGEST_S:
            return None
        runs = [shapes[index % len(shapes)] for index in range(GROWTH_RUNS)]
        try:
            self._run(*shapes[-1])
            before = self.used_bytes()
            for rows, size in runs:
                self._run(rows, size)
        except (InvalidArgumentError, EngineError):
            return None
        return Growth(
            run_count=GROWTH_RUNS,
            shape_count=len(set(runs)),
            grown_bytes=self.used_bytes() - before,
        )

    def _shapes(self) -> list[tuple[int, int]]:
        """Rows and size of free dimensions, the largest last."""
        most = min(max(1, self.max_batch_rows), GROWTH_RUNS)
        return [(rows, self.free_size) for rows in range(1, most + 1)]

    def _times(self, feeds: Sequence[Array | None]) -> list[float]:
        taken = []
        try:
            for _ in range(SETTLING_RUNS):
                self.model.run(feeds)
            for _ in range(LATENCY_RUNS):
                begin_s = self.now_s()
                self.model.run(feeds)
                taken.append(self.now_s() - begin_s)
        except (InvalidArgumentError, EngineError):
            return []
        return taken

    def _run(self, rows: int, size: int) -> None:
        feeds = self._feeds(rows, size)
        if feeds is None:
            raise InvalidArgumentError("its inputs are too large to make up")
        self.model.run(feeds)

    def _feeds(self, rows: int, size: int) -> list[Array | None] | None:
        return make_feeds(self.inputs, rows=rows, free_size=size)
