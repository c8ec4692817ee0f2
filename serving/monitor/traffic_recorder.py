"""Counts one version's calls for guardrails, in its worker. Fast path: called once per batch.

A batch costs one list append; those of every `FLUSH_BATCHES` are sorted into buckets together
(`benchmarks/traffic_cost.py`). Outputs are looked at only while somebody asks for them, one row a
batch.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from runtimes.contract import Array
from runtimes.errors import BasculeError
from serving.errors import WIRE
from serving.ids import VersionKey
from serving.monitor.output_bins import output_bin
from serving.monitor.traffic import BUCKETS_PER_DOUBLING, TrafficCounters, TrafficDelta

FLUSH_BATCHES: Final = 512
MAX_ROW_ELEMENTS: Final = 4096
"""Of a sampled row; what is behind them is not looked at."""
MAX_UNREAD_ROWS: Final = 10_000
"""Sampled rows that nobody has read: then nobody watches any more, and sampling ends."""
_US: Final = 1000
_SERVER_FAULT: Final = 500
_NUMBERS: Final = "biuf"


class OutputSampler:
    """Sorts one row of a batch into bins, output by output."""

    def __init__(self, names: Sequence[str], *, has_rows: bool) -> None:
        """Begin with nothing.

        Args:
            names: The outputs, as the model orders them.
            has_rows: Whether arrays have a batch axis first; if not, all of one is a row.
        """
        self._names = tuple(names)
        self._has_rows = has_rows
        self.bins: dict[str, Counter[int]] = {}
        self.unread_count = 0

    def take(self, outputs: Sequence[Array]) -> None:
        """Count the first row of a call's outputs."""
        self.unread_count += 1
        for name, output in zip(self._names, outputs, strict=False):  # a state may be behind them
            if output.dtype.kind not in _NUMBERS or not output.size:
                continue
            row = np.ravel(output[0] if self._has_rows else output)[:MAX_ROW_ELEMENTS]
            for series, value in _series(name, row):
                self.bins.setdefault(series, Counter())[output_bin(value)] += 1


class TrafficRecorder:
    """The counters. They belong to the loop's thread."""

    __slots__ = (
        "_answered_count",
        "_batches",
        "_bins",
        "_buckets",
        "_fault_count",
        "began_ns",
        "has_copies",
        "sampler",
    )

    def __init__(self, began_ns: int = 0) -> None:
        """Start at zero.

        Args:
            began_ns: Now, on the clock that instants are read from: a version that is loaded
                again counts anew.
        """
        self.began_ns = began_ns
        self.has_copies = False
        """Whether some of the calls are copies of another version's: these are left out."""
        self.sampler: OutputSampler | None = None
        """None: outputs are not looked at."""
        self._answered_count = 0
        self._fault_count = 0
        self._batches: list[tuple[Sequence[int], int]] = []
        self._buckets: Counter[int] = Counter()
        self._bins: dict[str, Counter[int]] = {}

    def count_answered(self, enqueued_ns: Sequence[int], end_ns: int) -> None:
        """Count the calls of one batch.

        Args:
            enqueued_ns: When each was received; kept, so nobody may change it.
            end_ns: When all had their replies.
        """
        batches = self._batches
        batches.append((enqueued_ns, end_ns))
        if len(batches) >= FLUSH_BATCHES:
            self._flush()

    def count_one(self, duration_ns: int) -> None:
        """Count an answered call that was in no batch."""
        self.count_answered((0,), duration_ns)

    def count_failure(self, error: BasculeError | None) -> None:
        """Count a failed call, unless its caller made a mistake."""
        self._fault_count += _is_fault(error)

    def watch_outputs(self, names: Sequence[str], *, has_rows: bool) -> None:
        """Begin to look at outputs, or go on."""
        if self.sampler is None:
            self.sampler = OutputSampler(names, has_rows=has_rows)

    def sample(self, outputs: Sequence[Array]) -> None:
        """Look at one call's outputs; called only while there is a sampler."""
        sampler = self.sampler
        if sampler is None:
            return
        sampler.take(outputs)
        if sampler.unread_count >= MAX_UNREAD_ROWS:
            self.forget_outputs()

    def forget_outputs(self) -> None:
        """Stop looking; what was counted stays."""
        self._collect()
        self.sampler = None

    def counters(self, key: VersionKey, now_ns: int) -> TrafficCounters:
        """Return what was counted since the beginning."""
        self._flush()
        self._collect()
        return TrafficCounters(
            model=key.model,
            version=key.version,
            began_ns=self.began_ns,
            age_s=(now_ns - self.began_ns) / 1e9,
            counted=TrafficDelta(
                answered_count=self._answered_count,
                fault_count=self._fault_count,
                latency_counts=dict(self._buckets),
                outputs={name: dict(bins) for name, bins in self._bins.items()},
            ),
        )

    def _flush(self) -> None:
        """Sort the waiting calls into buckets, as `latency_bucket` does one."""
        durations = np.asarray(
            [end_ns - at_ns for enqueued_ns, end_ns in self._batches for at_ns in enqueued_ns],
            np.int64,
        )
        self._batches = []
        logs = np.log2(np.maximum(durations, _US) / _US) * BUCKETS_PER_DOUBLING
        counts = np.bincount(logs.astype(np.int64))
        self._answered_count += len(durations)
        self._buckets.update({int(each): int(counts[each]) for each in np.flatnonzero(counts)})

    def _collect(self) -> None:
        if self.sampler is None:
            return
        for name, bins in self.sampler.bins.items():
            self._bins.setdefault(name, Counter()).update(bins)
        self.sampler.bins = {}
        self.sampler.unread_count = 0


def _series(name: str, row: Array) -> Iterator[tuple[str, float]]:
    """What is looked at of a row: its value, or three numbers of many values."""
    if row.size == 1:
        yield name, float(row[0])
        return
    values = row.astype(np.float64)
    yield f"{name} mean", float(values.mean())
    yield f"{name} largest", float(values.max())
    yield f"{name} place of largest", float(values.argmax())


def _is_fault(error: BasculeError | None) -> bool:
    """Whether a failed call is not its caller's mistake."""
    return error is None or WIRE[error.code].http >= _SERVER_FAULT
