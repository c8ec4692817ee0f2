"""One threshold for everything that is looked at, at a stated rate of false alarms. Pure.

The score of a block is the largest deviation over all components and windows, each in a unit of
its own: what only one in a thousand blocks exceeds where nothing has changed. Half of the worlds
give the units, the others the largest score of a stream; a Gumbel distribution of those gives the
threshold. So the rate holds for all columns, windows and times together, and more columns cannot
raise it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from serving.monitor.drift.block_sums import BLOCK_ROWS
from serving.monitor.drift.columns import FloatArray, IntArray
from serving.monitor.drift.deviation import Baseline, deviations
from serving.monitor.drift.windows import WINDOWS, window_sums
from serving.monitor.drift.worlds import World, Worlds

UNIT_SHARE: Final = 0.999
MIN_UNIT: Final = 3.0
NORMAL_UNIT: Final = 3.29
"""What `UNIT_SHARE` of a normal variable's deviations do not exceed."""
LONG_WINDOW: Final = 512
"""Of longer windows a stream has too few for their rarest deviations: their unit is normal."""
MIN_EFFECTIVE_ROWS: Final = 32
"""Windows that are worth fewer independent rows are not looked at."""
STILL_THRESHOLD: Final = 2.0
"""Where nothing in the reference varies no world says how high scores come by chance: six standard
errors."""
MIN_ROWS_BETWEEN: Final = 1_000
"""More false alarms than one in so many rows are of no use to anybody."""
_CELLS: Final = 400
_CELL: Final = 0.05
_EULER: Final = 0.5772156649


class Assumption(StrEnum):
    """What a calibration takes for granted about rows."""

    INDEPENDENT = "independent"
    """The reference is in the order of time, and its rows do not depend on one another."""
    AUTOCORRELATED = "autocorrelated"
    """The reference is in the order of time, and rows depend on those before them."""
    IID_ASSUMED = "iid-assumed"
    """The order of the reference is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarms:
    """How often a monitor may alarm without cause, and how that is found out."""

    probability: float = 0.05
    """Of at least one alarm in ..."""
    horizon_rows: int = 10_000
    replicates: int = 200
    seed: int = 20_261

    @property
    def mean_rows_between(self) -> float:
        """Rows from one false alarm to the next, on average."""
        return self.horizon_rows / -float(np.log1p(-self.probability))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """What decisions need."""

    units: FloatArray
    """Of deviations; infinite for windows that are not looked at. Shape (windows, components)."""
    threshold: float
    """Of the score."""
    scale: float = 0.0
    """By so much it rises for alarms that are e times rarer; 0: not known."""

    def without(self, components: IntArray) -> "Calibration":
        """Return it with some components not looked at."""
        units = self.units.copy()
        units[:, components] = np.inf
        return replace(self, units=units)


def calibrate(
    worlds: Worlds, baseline: Baseline, allowed: FalseAlarms, autocorrelation_time: float = 1.0
) -> Calibration:
    """Find units and threshold."""
    rng = np.random.default_rng(allowed.seed)
    half = max(allowed.replicates // 2, 2)
    blocks = allowed.horizon_rows // BLOCK_ROWS
    tally = _Tally(len(WINDOWS), len(baseline.means))
    for _ in range(half):
        tally.take(*_seen(worlds.draw(rng, blocks * BLOCK_ROWS), baseline))
    units = tally.units()
    units[np.array(WINDOWS) < MIN_EFFECTIVE_ROWS * autocorrelation_time] = np.inf
    largest = np.empty(half)
    for place in range(half):
        seen, _ = _seen(worlds.draw(rng, blocks * BLOCK_ROWS), baseline)
        largest[place] = (seen / units).max()
    middle, scale = _gumbel(largest)
    threshold = middle - scale * float(np.log(-np.log1p(-allowed.probability)))
    if threshold <= 0:
        return Calibration(units=units, threshold=STILL_THRESHOLD)
    return Calibration(units=units, threshold=threshold, scale=scale)


def threshold_for(
    calibration: Calibration, allowed: FalseAlarms, rows_between: float
) -> float | None:
    """Return the threshold at which false alarms are so many rows apart; None: not known.

    In the tail of a Gumbel distribution rarity grows exponentially with the score.
    """
    if not calibration.scale:
        return None
    rarity = max(rows_between, MIN_ROWS_BETWEEN) / allowed.mean_rows_between
    return calibration.threshold + calibration.scale * float(np.log(rarity))


def _seen(world: World, baseline: Baseline) -> tuple[FloatArray, IntArray]:
    """Return absolute deviations, shape (blocks, windows, components), and the windows' rows."""
    rows = np.arange(len(world.running), dtype=np.int64) * BLOCK_ROWS
    found = window_sums(rows, world.running, 1, WINDOWS)
    drawn = Baseline(
        rows=baseline.rows,
        means=world.reference_means,
        sds=baseline.sds,
        flags=baseline.flags,
    )
    means = found.sums / np.maximum(found.rows, 1)[..., None]
    seen = np.abs(deviations(means, found.rows, drawn))
    seen[found.rows == 0] = 0.0
    return seen, found.rows


class _Tally:
    """How large the deviations of each component were in each window."""

    def __init__(self, windows: int, components: int) -> None:
        self._shape = (windows, components)
        self._counts = np.zeros((windows * components, _CELLS), dtype=np.int64)
        self._squares = np.zeros(self._shape)
        self._blocks = np.zeros(windows)

    def take(self, seen: FloatArray, rows: IntArray) -> None:
        """Count the deviations of one world."""
        is_there = rows > 0
        self._squares += (seen**2).sum(axis=0)
        self._blocks += is_there.sum(axis=0)
        cells = np.minimum((seen / _CELL).astype(np.int64), _CELLS - 1)
        cells += (np.arange(len(self._counts)) * _CELLS).reshape(self._shape)
        found = np.bincount(cells[is_there].reshape(-1), minlength=self._counts.size)
        self._counts += found.reshape(self._counts.shape)

    def units(self) -> FloatArray:
        """Return the unit of each window and component."""
        rms = np.sqrt(self._squares / np.maximum(self._blocks, 1)[:, None])
        shares = np.cumsum(self._counts, axis=1) / np.maximum(self._counts.sum(axis=1), 1)[:, None]
        places = (shares < UNIT_SHARE).sum(axis=1).reshape(self._shape)
        is_long = np.array(WINDOWS)[:, None] > LONG_WINDOW
        units = np.where(is_long, NORMAL_UNIT * rms, (places + 1) * _CELL)
        return np.maximum(units, MIN_UNIT)


def _gumbel(largest: FloatArray) -> tuple[float, float]:
    """Return place and scale of the Gumbel distribution that has the sample's L-moments."""
    ordered = np.sort(largest)
    count = len(ordered)
    weighted = float((np.arange(count) * ordered).sum()) / (count * (count - 1))
    scale = (2 * weighted - float(ordered.mean())) / float(np.log(2))
    return float(ordered.mean()) - _EULER * scale, scale
