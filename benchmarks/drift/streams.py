"""The tables and changes of the drift benchmark, all from seeds. Needs numpy alone.

A table has eight numbers and a category: two normal ones that correlate (0.6), a normal one, two
lognormal ones (sigma 1 and 0.5), a count (Poisson, 4), a uniform and a bimodal one; six levels with
shares of 40, 25, 15, 10, 7 and 3 %. Rows are independent, or every column's normal scores follow an
autoregression. One column changes at a row in [3,000, 5,000); 17,000 rows follow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

REFERENCE_ROWS: Final = 5_000
CLEAN_ROWS: Final = 10_000
ROWS_AFTER: Final = 17_000
NUMBERS: Final = ("a", "b", "normal", "lognormal", "lognormal2", "count", "uniform", "bimodal")
CATEGORY: Final = "category"
LEVELS: Final = ("red", "green", "blue", "grey", "pink", "lime")
SHARES: Final = (0.40, 0.25, 0.15, 0.10, 0.07, 0.03)
CORRELATION: Final = 0.6
RAMP_ROWS: Final = 5_000
_GRID: Final = np.linspace(-6.0, 6.0, 4001)
_RANKS: Final = np.array([NormalDist().cdf(score) for score in _GRID])
_COUNTS: Final = np.cumsum([math.exp(-4) * 4**k / math.factorial(k) for k in range(30)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows."""

    numbers: FloatArray
    """Shape (rows, 8)."""
    levels: npt.NDArray[np.int64]
    """Which of `LEVELS`. Shape (rows,)."""

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.levels)

    def part(self, begin: int, end: int) -> "Table":
        """Return some of the rows."""
        return Table(numbers=self.numbers[begin:end], levels=self.levels[begin:end])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A reference, rows that follow it, and what changes among them."""

    reference: Table
    rows: Table
    change_row: int
    """The first changed row; as many as there are if nothing changes."""
    changed: str
    """The column; empty if none."""


def clean_stream(seed: int, carry: float = 0.0) -> Stream:
    """Draw a reference and 10,000 rows like it; `carry` is the autoregression's coefficient."""
    rng = np.random.default_rng((seed, 1))
    reference = _table(_scores(rng, REFERENCE_ROWS, carry))
    rows = _table(_scores(rng, CLEAN_ROWS, carry))
    return Stream(reference=reference, rows=rows, change_row=CLEAN_ROWS, changed="")


def changed_stream(name: str, seed: int, carry: float = 0.0) -> Stream:
    """Draw a reference and rows of which one column changes."""
    rng = np.random.default_rng((seed, 2, list(CHANGES).index(name)))
    change_row = int(rng.integers(3_000, 5_000))
    reference = _table(_scores(rng, REFERENCE_ROWS, carry))
    rows = _table(_scores(rng, change_row + ROWS_AFTER, carry))
    after = rows.part(change_row, len(rows))  # a view: what changes there changes in `rows`
    changed = CHANGES[name](rng, after, carry)
    return Stream(reference=reference, rows=rows, change_row=change_row, changed=changed)


def _scores(rng: np.random.Generator, rows: int, carry: float) -> FloatArray:
    """Draw correlated normal scores. Shape (rows, 9)."""
    scores = rng.standard_normal((rows, 9))
    if carry:
        scores[1:] *= math.sqrt(1.0 - carry**2)
        for row in range(1, rows):
            scores[row] += carry * scores[row - 1]
    scores[:, 1] = CORRELATION * scores[:, 0] + math.sqrt(1 - CORRELATION**2) * scores[:, 1]
    return scores


def _table(scores: FloatArray) -> Table:
    ranks = np.interp(scores, _GRID, _RANKS)
    numbers = scores[:, :8].copy()
    numbers[:, 3] = np.exp(scores[:, 3])
    numbers[:, 4] = np.exp(0.5 * scores[:, 4])
    numbers[:, 5] = _COUNTS.searchsorted(ranks[:, 5])
    numbers[:, 6] = ranks[:, 6]
    is_low = ranks[:, 7] < 0.5  # noqa: PLR2004  half of the rows are around each mode
    inner = np.clip(np.where(is_low, 2 * ranks[:, 7], 2 * ranks[:, 7] - 1), 1e-9, 1 - 1e-9)
    numbers[:, 7] = np.where(is_low, -2.0, 2.0) + 0.7 * np.interp(inner, _RANKS, _GRID)
    levels = np.cumsum(SHARES).searchsorted(ranks[:, 8])
    return Table(numbers=numbers, levels=np.minimum(levels, len(LEVELS) - 1))


Change = Callable[[np.random.Generator, Table, float], str]


def _moved(by_sd: float, ramp_rows: int = 0) -> Change:
    def change(rng: np.random.Generator, after: Table, _: float) -> str:
        place, values = _drawn(rng, after)
        ramp = np.minimum(np.arange(len(values)) / ramp_rows, 1.0) if ramp_rows else 1.0
        values += by_sd * values.std() * ramp
        return _kept_whole(rng, place, values)

    return change


def _spread(factor: float) -> Change:
    def change(rng: np.random.Generator, after: Table, _: float) -> str:
        place, values = _drawn(rng, after)
        middle = values.mean()
        values[:] = middle + factor * (values - middle)
        return _kept_whole(rng, place, values)

    return change


def _drawn(rng: np.random.Generator, after: Table) -> tuple[int, FloatArray]:
    place = int(rng.integers(len(NUMBERS)))
    return place, after.numbers[:, place]


def _kept_whole(rng: np.random.Generator, place: int, values: FloatArray) -> str:
    """Let counts stay whole numbers, of the same mean."""
    if NUMBERS[place] == "count":
        values[:] = np.maximum(np.floor(values + rng.random(len(values))), 0.0)
    return NUMBERS[place]


def _other_shares(rng: np.random.Generator, after: Table, _: float) -> str:
    """Let 15 of 100 rows have the second level instead of the first: the two change places."""
    is_first = after.levels == 0
    after.levels[is_first & (rng.random(len(after)) < 1 - SHARES[1] / SHARES[0])] = 1
    return CATEGORY


def _unrelated(rng: np.random.Generator, after: Table, carry: float) -> str:
    """Let the second column keep its distribution, and lose its correlation with the first."""
    after.numbers[:, 1] = _scores(rng, len(after), carry)[:, 2]
    return NUMBERS[1]


def _missing(rng: np.random.Generator, after: Table, _: float) -> str:
    place, values = _drawn(rng, after)
    values[rng.random(len(values)) < 0.05] = np.nan  # noqa: PLR2004  5 %
    return NUMBERS[place]


CHANGES: Final[dict[str, Change]] = {
    "mean 0.25 sd": _moved(0.25),
    "mean 0.5 sd": _moved(0.5),
    "mean 1 sd": _moved(1.0),
    "scale 1.5": _spread(1.5),
    "category": _other_shares,
    "correlation": _unrelated,
    "missing 5 %": _missing,
    "gradual": _moved(1.0, RAMP_ROWS),
}
