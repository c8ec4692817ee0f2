"""How long the stages of calls took: histograms of one version, counted in its worker.

::

    received      taken up      run begins      run ends      reply handed over
       │── queue ──────│── batch ───────│── compute ────│── encode ───────│
       │────────────────────────── request ───────────────────────────────│

Each call of a merged batch is charged the whole batch's stages, as in the statistics. Who counts is
`traffic_recorder`, which sorts the calls of many batches together.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from runtimes.contract import Array

# fmt: off
EDGES_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
)
# fmt: on
"""Upper ends of the buckets. A limit on latency (`slo.yaml`) has to be one of them."""
TRANSPORTS: Final = ("http", "grpc", "step", "copy")
HTTP, GRPC, STEP, COPY = range(len(TRANSPORTS))
"""How a call came: by a client's wire, as a step of an ensemble, as a copy in shadow traffic."""
REQUEST: Final = "request"
STAGES: Final = (REQUEST, "queue", "batch", "compute", "encode")

_EDGES_NS: Final = [round(edge * 1e9) for edge in EDGES_S]
_EDGES: Final = np.asarray(_EDGES_NS, np.int64)
_BUCKETS: Final = len(EDGES_S) + 1
_ROWS: Final = np.arange(len(STAGES), dtype=np.int64)[:, None]
_SHAPE: Final = (len(TRANSPORTS), len(STAGES), _BUCKETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """One stage of the calls that came one way; on the control channel they travel as JSON."""

    transport: str
    stage: str
    counts: tuple[int, ...]
    """Calls by bucket, each counted once; the last bucket has no end."""
    sum_ns: int

    def __add__(self, other: "StageTimes") -> "StageTimes":
        """Add another worker's of the same kind."""
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return StageTimes(
            transport=self.transport,
            stage=self.stage,
            counts=counts,
            sum_ns=self.sum_ns + other.sum_ns,
        )


def merged_stages(one: Sequence[StageTimes], other: Sequence[StageTimes]) -> tuple[StageTimes, ...]:
    """Add histograms of the same kind; the others stand beside each other."""
    found = {(each.transport, each.stage): each for each in one}
    for each in other:
        place = (each.transport, each.stage)
        known = found.get(place)
        found[place] = each if known is None else known + each
    return tuple(found.values())


class StageHistograms:
    """The histograms. They belong to the loop's thread."""

    __slots__ = ("_counts", "_sums_ns")

    def __init__(self) -> None:
        """Start at zero."""
        self._counts = np.zeros(_SHAPE, np.int64)
        self._sums_ns = np.zeros(_SHAPE[:2], np.int64)

    def add(self, transports: Array, durations_ns: Array) -> None:
        """Count calls.

        Args:
            transports: How each came: indices of `TRANSPORTS`.
            durations_ns: A row for each stage, a column for each call.
        """
        places = transports.astype(np.int64) * len(STAGES) + _ROWS
        buckets = places * _BUCKETS + np.searchsorted(_EDGES, durations_ns)
        self._counts += np.bincount(buckets.ravel(), minlength=self._counts.size).reshape(_SHAPE)
        sums = np.bincount(places.ravel(), durations_ns.ravel(), self._sums_ns.size)
        self._sums_ns += sums.astype(np.int64).reshape(_SHAPE[:2])

    def add_one(self, transport: int, *durations_ns: int) -> None:
        """Count a call that was answered without a batch of its own.

        Args:
            transport: How it came.
            durations_ns: Of the whole request, and of as many stages as it went through, in their
                order: none for an answer from a cache.
        """
        for stage, duration_ns in enumerate(durations_ns):
            self._counts[transport, stage, bisect_left(_EDGES_NS, duration_ns)] += 1
            self._sums_ns[transport, stage] += duration_ns

    def counted(self) -> tuple[StageTimes, ...]:
        """Return the histograms that have something in them."""
        return tuple(
            StageTimes(
                transport=transport,
                stage=stage,
                counts=tuple(self._counts[way, row].tolist()),
                sum_ns=int(self._sums_ns[way, row]),
            )
            for way, transport in enumerate(TRANSPORTS)
            for row, stage in enumerate(STAGES)
            if self._counts[way, row].any()
        )
