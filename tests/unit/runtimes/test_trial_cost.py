"""What running costs: times of warm runs, and memory over many shapes; on a set clock."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from runtimes.contract import Array
from runtimes.datatypes import Datatype
from runtimes.errors import EngineError
from runtimes.preflight.trial import Growth, Latency
from runtimes.trial_cost import GROWTH_RUNS, LATENCY_RUNS, Costs
from tests.fakes.call_specs import tensor
from tests.fakes.function_model import FunctionModel

X = tensor("x", Datatype.FP32, (-1, 2))
MIB = 1 << 20


class Machine:
    """A model whose runs take a millisecond a row and keep some memory, and what measures it."""

    def __init__(self, *, kept_bytes: int = 0, fails: bool = False) -> None:
        """Start at nothing."""
        self.time_s = 0.0
        self.used_bytes = 0
        self.rows: list[int] = []
        self._kept_bytes = kept_bytes
        self._fails = fails

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Take time and memory."""
        if self._fails:
            raise EngineError("it fails")
        (feed,) = feeds
        assert feed is not None
        self.rows.append(len(feed))
        self.time_s += 0.001 * len(feed)
        self.used_bytes += self._kept_bytes
        return [np.zeros((len(feed), 2), np.float32)]

    def costs(self) -> Costs:
        """Measure it."""
        return Costs(
            model=FunctionModel((X,), (X,), self.run),
            inputs=(X,),
            max_batch_rows=8,
            free_size=1,
            run_s=0.001,
            now_s=lambda: self.time_s,
            used_bytes=lambda: self.used_bytes,
        )


def test_one_row_and_the_largest_batch_are_timed() -> None:
    """Each with its p99, after some runs that are not counted."""
    assert Machine().costs().latencies() == (
        Latency(rows=1, run_count=LATENCY_RUNS, p99_s=pytest.approx(0.001)),
        Latency(rows=8, run_count=LATENCY_RUNS, p99_s=pytest.approx(0.008)),
    )


def test_what_is_kept_for_ever_shows() -> None:
    """A model that keeps a megabyte a run grows by as many as there were runs."""
    machine = Machine(kept_bytes=MIB)

    assert machine.costs().growth() == Growth(
        run_count=GROWTH_RUNS, shape_count=8, grown_bytes=GROWTH_RUNS * MIB
    )
    assert machine.rows[0] == max(machine.rows)


def test_a_model_that_settles_does_not_grow() -> None:
    """Nothing kept is no growth."""
    found = Machine().costs().growth()

    assert found is not None
    assert found.grown_bytes == 0


def test_what_does_not_run_or_takes_too_long_is_not_measured() -> None:
    """No figures are made up, and nobody waits for minutes."""
    slow = replace(Machine().costs(), run_s=60.0)

    for costs in (Machine(fails=True).costs(), slow):
        assert costs.latencies() == ()
        assert costs.growth() is None
