"""Who looks at the counted calls: the real prediction log, and the loop's half of drift.

Who watches for drift sees a clock that moves on by 5 ms a batch, so that one call in sixteen is
chosen, as of a version that answers 15,000 calls/s of which 1,000 are watched. Nobody encodes what
was copied: that is another thread's work.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.predictions.order import LogOrder
from serving.registry.version import VersionSpec
from serving.worker.drift.sinks import Collected
from serving.worker.drift.version_watch import VersionWatch, plan_for
from serving.worker.executor import Ran
from serving.worker.own_environment import OwnEnvironment
from serving.worker.prediction_log import PredictionLog
from serving.worker.prediction_names import PredictionNames
from serving.worker.tap import Observer, Tap, TappedVersion

BATCH_NS: Final = 5_000_000
ROWS_PER_S: Final = 100
LEARN_ROWS: Final = 5_000
PID: Final = 1
CLOSE_S: Final = 2.0


class PacedWatch(VersionWatch):
    """Watches on a clock that moves on with each batch."""

    def __init__(self, version: TappedVersion) -> None:
        """Copy rows for a reference to be learnt from; chance is the same every time."""
        self._past_ns = 0
        super().__init__(
            version.spec,
            ROWS_PER_S,
            draw=random.Random(version.spec.model).random,
            now_ns=lambda: self._past_ns,
        )
        self.follow(plan_for(Collected(version.served, LEARN_ROWS)))

    def take(self, ran: Ran, end_ns: int) -> None:
        """Move the clock on."""
        self._past_ns += BATCH_NS
        super().take(ran, end_ns)


class CountedWatchers:
    """The observers of the versions that a case is about."""

    def __init__(self, folder: Path, drifting: frozenset[str]) -> None:
        """Log below a folder what a model's configuration wants; watch some models for drift."""
        self._drifting = drifting
        self._log = PredictionLog(
            LogOrder(folder=str(folder), rate=0),
            "counted",
            PID,
            own=OwnEnvironment(""),
            now_ns=time.perf_counter_ns,
            unix_ns=time.time_ns,
        )
        self.names: Callable[[VersionSpec], PredictionNames | None] = self._log.names_for
        self.taps: tuple[Tap, ...] = (self._log.tap, self._drift)

    def close(self) -> None:
        """End the log's thread."""
        self._log.close(CLOSE_S)

    def _drift(self, version: TappedVersion) -> Observer | None:
        return PacedWatch(version) if version.spec.model in self._drifting else None
