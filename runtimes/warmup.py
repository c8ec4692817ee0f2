"""Runs a freshly loaded model a few times, so that the first client does not pay for it.

First runs allocate, choose kernels and, with TorchScript, compile. The time of the later ones tells
the worker whether a batch may run on its event loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from runtimes.contract import Array, LoadedModel, TensorSpec
from runtimes.errors import EngineError, InvalidArgumentError
from runtimes.generated_feeds import FREE_SIZES, make_feeds

RUNS: Final = 6
BUDGET_S: Final = 0.25  # for all runs of one model; one that takes longer is run once


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """What the first runs showed."""

    run_s: float | None
    """Median seconds of one run of one row, the first run apart; None where none succeeded."""
    free_size: int | None
    """The size of free dimensions that the model took."""
    note: str = ""
    """Why nothing could be run."""


def warm_up(
    model: LoadedModel, inputs: Sequence[TensorSpec], *, now_s: Callable[[], float]
) -> Warmup:
    """Run a model with made-up inputs of one row.

    That the model refuses them is no error: nobody told us what its inputs mean.

    Args:
        model: The loaded model.
        inputs: Its inputs as callers see them (`runtimes.signature`).
        now_s: A monotonic clock in seconds.
    """
    reason = "its inputs are too large to make up"
    for free_size in FREE_SIZES:
        feeds = make_feeds(inputs, rows=1, free_size=free_size)
        if feeds is None:
            continue
        try:
            run_s = _time_runs(model, feeds, now_s)
        except (InvalidArgumentError, EngineError) as error:
            reason = error.message
            continue
        return Warmup(run_s=run_s, free_size=free_size)
    return Warmup(run_s=None, free_size=None, note=f"not warmed up with made-up inputs: {reason}")


def _time_runs(
    model: LoadedModel, feeds: Sequence[Array | None], now_s: Callable[[], float]
) -> float:
    begin_s = now_s()
    taken_s: list[float] = []
    while len(taken_s) < RUNS and now_s() - begin_s < BUDGET_S:
        start_s = now_s()
        model.run(feeds)
        taken_s.append(now_s() - start_s)
    return median(taken_s[1:] or taken_s)
