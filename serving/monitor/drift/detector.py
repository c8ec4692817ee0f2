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
from serving.monitor.drift.deviation import deviations, limits
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.windows import WINDOWS, RunningSums, WindowSums


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
        calibration = profile.calibration
        self._window_rows = np.array(WINDOWS, dtype=np.int64)
        self._limits = limits(
            self._window_rows,
            calibration.units * calibration.threshold,
            self._scales,
            profile.baseline,
        )
        self._running = RunningSums(len(encoder.components))
        self._last: WindowSums | None = None
        self.rows = 0
        """Rows seen so far."""

    @property
    def component_scores(self) -> FloatArray:
        """The largest score of every component at the last block. Shape (components,)."""
        if self._last is None:
            return np.zeros(len(self._scales))
        scores: FloatArray = self._judged(self._last).scores[-1].max(axis=0)
        return scores

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
        found = self._running.push(blocks)
        alarming = self._first_over(found)
        used = len(blocks) if alarming is None else alarming + 1
        self.rows += sum(block.rows for block in blocks[:used])
        self._last = found.at(used - 1)
        if alarming is None:
            return used, None
        alarm = self._alarm(self._last, len(blocks) - used)
        self._running = RunningSums(len(self._scales))
        return used, alarm

    def _first_over(self, found: WindowSums) -> int | None:
        """Return the first block with a score over the threshold."""
        if self._is_within(found):
            return None
        scores = self._judged(found).scores.max(axis=(1, 2))
        over = np.flatnonzero(scores > self._profile.calibration.threshold)
        return int(over[0]) if over.size else None

    def _is_within(self, found: WindowSums) -> bool:
        """Say whether all sums are within their limits; those of odd windows have none."""
        is_odd = found.rows != self._window_rows
        is_over = np.greater(found.sums, self._limits.high)
        is_over |= found.sums < self._limits.low
        if is_odd.any():
            is_absent = found.rows == 0
            if (is_odd & ~is_absent).any():
                return False
            is_over[is_absent] = False
        return not is_over.any()

    def _judged(self, found: WindowSums) -> "_Judged":
        means = found.sums / np.maximum(found.rows, 1)[..., None] / self._scales
        seen = deviations(means, found.rows, self._profile.baseline)
        scores = np.abs(seen) / self._profile.calibration.units
        scores[found.rows == 0] = 0.0
        return _Judged(means=means, deviations=seen, scores=scores)

    def _named(self, scores: FloatArray) -> tuple[int, int]:
        """Choose window and component: a relation is named if no column by itself is over."""
        alone = np.where(self._is_pair, 0.0, scores)
        named = alone if alone.max() > self._profile.calibration.threshold else scores
        window, component = np.unravel_index(int(named.argmax()), named.shape)
        return int(window), int(component)

    def _alarm(self, found: WindowSums, blocks_after: int) -> Alarm:
        """Describe the alarm at a block, after which there are more."""
        judged = self._judged(found)
        window, component = self._named(judged.scores[0])
        return Alarm(
            at_row=self.rows,
            window_rows=int(found.rows[0, window]),
            component=component,
            score=float(judged.scores[0, window, component]),
            deviation=float(judged.deviations[0, window, component]),
            component_scores=judged.scores[0].max(axis=0),
            window_means=judged.means[0, window],
            window_bins=self._running.window_bins(int(found.starts[0, window]), blocks_after),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """What windows say. Shape (blocks, windows, components) each."""

    means: FloatArray
    deviations: FloatArray
    scores: FloatArray
