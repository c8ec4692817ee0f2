"""The decision: blocks in, alarms out. The same blocks give the same alarms.

At every block the score is the largest deviation over components and windows, in their units; above
the threshold it is an alarm, and the detector starts anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.block_sums import BlockSums
from serving.monitor.drift.columns import FloatArray, IntArray
from serving.monitor.drift.deviation import deviations
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.windows import RunningSums, WindowSums


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alarm:
    """That a version's rows are no longer as in its reference."""

    at_row: int
    """Rows seen when it was noticed."""
    window_rows: int
    """Of the window that showed it, the last ones of these."""
    component: int
    """Which component showed it."""
    score: float
    deviation: float
    """In standard errors; its sign says the direction."""
    component_scores: FloatArray
    """The largest score of every component, over windows. Shape (components,)."""
    window_means: FloatArray
    """Means of components over the window. Shape (components,)."""
    window_bins: IntArray
    """Rows of the window in each bin. Shape (bins,)."""


class Detector:
    """Watches the merged stream of one version."""

    def __init__(self, profile: Profile) -> None:
        """Start with nothing seen."""
        self._profile = profile
        encoder = profile.encoder
        self._scales = np.array([c.scale for c in encoder.components], dtype=np.float64)
        self._is_pair = np.array([c.is_pair for c in encoder.components])
        self._width = len(encoder.components)
        self._running = RunningSums(self._width + int(encoder.bin_starts[-1]))
        self.rows = 0
        """Rows seen so far."""
        self.component_scores: FloatArray = np.zeros(self._width)
        """The largest score of every component at the last block. Shape (components,)."""

    def push(self, blocks: Sequence[BlockSums]) -> list[Alarm]:
        """Take in blocks, oldest first; return the alarms that they raise.

        Raises:
            InvalidArgumentError: A block was made with another profile.
        """
        digest = self._profile.digest
        strange = [block.digest for block in blocks if block.digest != digest]
        if strange:
            raise InvalidArgumentError(
                f"sums of drift profile {strange[0][:12]} cannot be judged by {digest[:12]}: the "
                "replica needs the same bundle"
            )
        alarms: list[Alarm] = []
        while blocks:
            used, alarm = self._push(blocks)
            blocks = blocks[used:]
            if alarm is not None:
                alarms.append(alarm)
        return alarms

    def _push(self, blocks: Sequence[BlockSums]) -> tuple[int, Alarm | None]:
        """Take in blocks up to the first alarm; return how many."""
        found = self._running.push(blocks, self._width)
        means = found.sums / np.maximum(found.rows, 1)[..., None] / self._scales
        seen = deviations(means, found.rows, self._profile.baseline)
        scores = np.abs(seen) / self._profile.calibration.units
        scores[found.rows == 0] = 0.0
        over = np.flatnonzero(scores.max(axis=(1, 2)) > self._profile.calibration.threshold)
        used = int(over[0]) + 1 if over.size else len(blocks)
        self.rows += sum(block.rows for block in blocks[:used])
        self.component_scores = scores[used - 1].max(axis=0)
        if not over.size:
            return used, None
        alarm = self._alarm(found, means, seen, scores, used - 1, len(blocks))
        self._running = RunningSums(self._running.sums.shape[1])
        return used, alarm

    def _named(self, scores: FloatArray) -> tuple[int, int]:
        """Choose window and component: a relation is named if no column by itself is over."""
        alone = np.where(self._is_pair, 0.0, scores)
        named = alone if alone.max() > self._profile.calibration.threshold else scores
        window, component = np.unravel_index(int(named.argmax()), named.shape)
        return int(window), int(component)

    def _alarm(
        self,
        found: WindowSums,
        means: FloatArray,
        seen: FloatArray,
        scores: FloatArray,
        block: int,
        block_count: int,
    ) -> Alarm:
        window, component = self._named(scores[block])
        running = self._running.sums
        end = len(running) - block_count + block
        bins = running[end] - running[found.starts[block, window]]
        return Alarm(
            at_row=self.rows,
            window_rows=int(found.rows[block, window]),
            component=component,
            score=float(scores[block, window, component]),
            deviation=float(seen[block, window, component]),
            component_scores=scores[block].max(axis=0),
            window_means=means[block, window],
            window_bins=bins[self._width :],
        )
