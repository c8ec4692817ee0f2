"""Counts one version's calls for guardrails and histograms. Fast path: called once per batch.

A batch's instants are only kept; those of every `FLUSH_BATCHES` are sorted into buckets together
(`benchmarks/traffic_cost.py`). Outputs are looked at only while somebody asks for them, one row a
batch.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from runtimes.contract import Array
from runtimes.errors import BasculeError
from serving.errors import WIRE
from serving.ids import VersionKey
from serving.monitor.output_bins import output_bin
from serving.monitor.stages import COPY, StageHistograms, StageTimes
from serving.monitor.traffic import (
    BUCKETS_PER_DOUBLING,
    TrafficCounters,
    TrafficDelta,
    latency_bucket,
)

FLUSH_BATCHES: Final = 256
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
        "_bins",
        "_buckets",
        "_came_ns",
        "_fault_count",
        "_moments_ns",
        "_sizes",
        "_transports",
        "began_ns",
        "sampler",
        "stages",
    )

    def __init__(self, began_ns: int = 0) -> None:
        """Start at zero.

        Args:
            began_ns: Now, on the clock that instants are read from: a version that is loaded
                again counts anew.
        """
        self.began_ns = began_ns
        self.stages = StageHistograms()
        """What the answered calls took; `counted_stages` has all of them."""
        self.sampler: OutputSampler | None = None
        """None: outputs are not looked at."""
        self._answered_count = 0
        self._fault_count = 0
        self._came_ns: list[int] = []
        self._transports = bytearray()
        self._sizes: list[int] = []
        self._moments_ns: list[int] = []
        self._buckets: Counter[int] = Counter()
        self._bins: dict[str, Counter[int]] = {}

    def count_answered(
        self,
        enqueued_ns: Sequence[int],
        transports: bytes | bytearray,
        moments_ns: tuple[int, int, int, int],
    ) -> None:
        """Count the answered calls of one batch.

        Args:
            enqueued_ns: When each was received.
            transports: How each came: an index of `serving.monitor.stages.TRANSPORTS`.
            moments_ns: When the batch was taken up, its run began, its run ended, and when all had
                their replies.
        """
        self._came_ns.extend(enqueued_ns)
        self._transports.extend(transports)
        self._moments_ns.extend(moments_ns)
        sizes = self._sizes
        sizes.append(len(enqueued_ns))
        if len(sizes) >= FLUSH_BATCHES:
            self._flush()

    def count_alone(self, transport: int, duration_ns: int, *stages_ns: int) -> None:
        """Count an answered call that was in no batch.

        Args:
            transport: How it came.
            duration_ns: From receipt to reply.
            stages_ns: What each stage took, if it went through any.
        """
        self.stages.add_one(transport, duration_ns, *stages_ns)
        if transport != COPY:
            self._answered_count += 1
            self._buckets[latency_bucket(duration_ns)] += 1

    def counted_stages(self) -> tuple[StageTimes, ...]:
        """Return the histograms."""
        self._flush()
        return self.stages.counted()

    @property
    def fault_count(self) -> int:
        """Failed calls that were no mistake of their callers."""
        return self._fault_count

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
        counted = self.calls(key, now_ns)
        self._collect()
        outputs = {name: dict(bins) for name, bins in self._bins.items()}
        return replace(counted, counted=replace(counted.counted, outputs=outputs))

    def calls(self, key: VersionKey, now_ns: int) -> TrafficCounters:
        """Return the same without outputs: who asks for calls does not ask to look at those."""
        self._flush()
        return TrafficCounters(
            model=key.model,
            version=key.version,
            began_ns=self.began_ns,
            age_s=(now_ns - self.began_ns) / 1e9,
            counted=TrafficDelta(
                answered_count=self._answered_count,
                fault_count=self._fault_count,
                latency_counts=dict(self._buckets),
            ),
        )

    def _flush(self) -> None:
        """Sort the waiting calls into buckets; copies are no clients' calls, guardrails pass them.

        What belongs to a call is a column of `durations`; its rows are the stages.
        """
        if not self._sizes:
            return
        came = np.asarray(self._came_ns, np.int64)[None]
        batches = np.asarray(self._moments_ns, np.int64).reshape(-1, 4).T
        moments = np.repeat(batches, self._sizes, axis=1)
        transports = np.frombuffer(bytes(self._transports), np.uint8)
        for waiting in (self._came_ns, self._transports, self._sizes, self._moments_ns):
            waiting.clear()
        begins = np.concatenate((came, came, moments[:3]))
        durations = np.concatenate((moments[3:], moments)) - begins
        self.stages.add(transports, durations)
        self._count_latencies(durations[0][transports != COPY])

    def _count_latencies(self, durations_ns: Array) -> None:
        """Count calls as `latency_bucket` sorts one."""
        logs = np.log2(np.maximum(durations_ns, _US) / _US) * BUCKETS_PER_DOUBLING
        counts = np.bincount(logs.astype(np.int64))
        self._answered_count += len(durations_ns)
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
