"""The engine alone with the same calls: what the fastest server could be."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.loads import Array
from benchmarks.padding.calls import Ids, feed_of, padded_share, windows


@dataclass(frozen=True, slots=True, kw_only=True)
class BareRun:
    """All calls, once."""

    embeddings: Sequence[Array]
    """Of the calls, in their order."""
    times_s: Sequence[float]
    """Of the calls, in any order; each since its window began."""
    took_s: float
    cpu_s: float
    """Of this process."""
    batch_rows: float
    """The mean."""
    padded_share: float


def run_bare(session: Any, calls: Sequence[Ids], window: int) -> BareRun:
    """Run calls, so many at a time, those of one bucket together; a window of 1 is one by one."""
    lengths = [ids.shape[1] for ids in calls]
    embeddings: dict[int, Array] = {}
    times_s: list[float] = []
    run_lengths: list[int] = []
    batch_count = 0
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for batches in windows(lengths, window):
        window_s = time.perf_counter()
        for places in batches:
            feed = feed_of([calls[place] for place in places])
            (rows,) = session.run(None, feed)
            embeddings.update(zip(places, rows, strict=True))
            times_s += [time.perf_counter() - window_s] * len(places)
            run_lengths += [feed["input_ids"].shape[1]] * len(places)
            batch_count += 1
    return BareRun(
        embeddings=[embeddings[place] for place in range(len(calls))],
        times_s=times_s,
        took_s=time.perf_counter() - began_s,
        cpu_s=time.process_time() - began_cpu_s,
        batch_rows=len(calls) / batch_count,
        padded_share=padded_share(lengths, run_lengths),
    )
