"""Evidence that may be looked at after every window: e-processes against a null of "no worse".

All tests have one form. In a window, `count` things happened of which the null gives the candidate
each with chance `p` at most; `k` were the candidate's. An alternative says that the odds are
`theta` times those. Its likelihood ratio is

    theta**k / (1 - p + p * theta)**count

and has mean <= 1 under the null, whatever happened before, so that the product over windows is a
supermartingale of mean <= 1, for each theta and therefore for their average over a fixed grid: the
evidence. By Ville's inequality (Ville, Étude critique de la notion de collectif, 1939) the chance
that it ever reaches 1/alpha is at most alpha, however often it is looked at and whatever stops the
watching. The average over alternatives is Robbins' method of mixtures (Annals of Mathematical
Statistics 41, 1970); the evidence can be read as what a bettor against the null has made of 1
(Shafer, Testing by betting, JRSS A 184, 2021). Since p may differ from window to window, the grid
is over odds, which mean the same in each.

Two arms in the same time: the null is that calls were given to the arms by chance, whatever would
have become of them. Conditional on a window's total of events the candidate's share is then
hypergeometric, and the mean of theta**k is computed from that law where few enough values are
possible. Otherwise the binomial's mean above stands for it: the hypergeometric law is smaller in
convex order (Hoeffding, JASA 58, 1963, theorem 4), theta**k is convex in k, so the evidence is a
little too small and stays valid.

What no test of this form covers: events of one arm that come in clusters for a cause outside the
calls, such as one lost worker that fails all the calls it holds. They count as what they are,
failures of that arm.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_EXACT_COUNT: Final = 1024
"""So many values the candidate's share of a window may have before the binomial stands for it."""

_GRID: Final[FloatArray] = 0.1 * 1.2 ** np.arange(24, dtype=np.float64)
"""Logarithms of odds ratios, 1.1 to 700: a fault that the live version never has is found, too."""
_BOTH_SIDES: Final[FloatArray] = np.concatenate((-_GRID[::2], _GRID[::2]))


class Counted(NamedTuple):
    """How many of some calls, or rows, had what is counted."""

    event_count: int
    all_count: int

    @property
    def share(self) -> float:
        """0 if there was nothing."""
        return self.event_count / self.all_count if self.all_count else 0.0


NOTHING: Final = Counted(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks against the null by now. Starts at 1, and is kept as logarithms."""

    is_two_sided: bool = False
    """The alternatives are odds below the null's, too."""
    log_ratios: tuple[float, ...] = field(default=())
    """Of each alternative of the grid; empty before the first window."""

    @property
    def log_e(self) -> float:
        """The natural logarithm of the e-value."""
        if not self.log_ratios:
            return 0.0
        return _log_sum(np.asarray(self.log_ratios)) - math.log(len(self.log_ratios))

    @property
    def grid(self) -> FloatArray:
        """Logarithms of the alternatives' odds ratios."""
        grid: FloatArray = _BOTH_SIDES if self.is_two_sided else _GRID
        return grid

    def after(self, log_ratios: FloatArray) -> "Evidence":
        """Multiply with a window's likelihood ratios."""
        before = np.asarray(self.log_ratios) if self.log_ratios else np.zeros(len(self.grid))
        return replace(self, log_ratios=tuple(float(value) for value in before + log_ratios))


def rate_excess(evidence: Evidence, *, candidate: Counted, live: Counted) -> Evidence:
    """Add a window of both arms: has the candidate more events, for its part of the calls?

    The null is that its rate is no higher (two-sided: the same).
    """
    total = candidate.event_count + live.event_count
    if not total or not candidate.all_count or not live.all_count:
        return evidence
    log_odds = evidence.grid
    means = _log_means(log_odds, total, candidate.all_count, live.all_count)
    return evidence.after(candidate.event_count * log_odds - means)


def share_above(evidence: Evidence, counted: Counted, limit: float) -> Evidence:
    """Add a window of one arm: is the share of events above a limit between 0 and 1?

    Rows count as independent given what came before.
    """
    return evidence.after(_binomial_log_ratios(evidence.grid, counted, limit))


def sign_excess(evidence: Evidence, *, worse_count: int, better_count: int) -> Evidence:
    """Add windows in which the candidate was clearly worse, or clearly better; ties are left out.

    The null is that, given what came before, the next one is worse with chance 1/2 at most.
    """
    counted = Counted(worse_count, worse_count + better_count)
    return evidence.after(_binomial_log_ratios(evidence.grid, counted, 0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEvidence:
    """What speaks for a share that has risen above a limit at some moment, whichever that was.

    An average over beginnings: the evidence since window k counts `1 / (k * (k + 1))`, which is 1
    in all, and one that has not begun stands at 1. An average of such evidence is evidence, so the
    chance that it ever reaches 1/alpha is at most alpha, and good windows before a change cost no
    more than the logarithm of their number squared.
    """

    log_sums: tuple[float, ...] = ()
    """Of the beginnings so far, for each alternative of the grid; empty before the first window."""
    window_count: int = 0

    @property
    def log_e(self) -> float:
        """The natural logarithm of the e-value."""
        to_come = -math.log(self.window_count + 1)
        if not self.log_sums:
            return to_come
        mean = _log_sum(np.asarray(self.log_sums)) - math.log(len(self.log_sums))
        return float(np.logaddexp(mean, to_come))


def share_risen(evidence: ChangeEvidence, counted: Counted, limit: float) -> ChangeEvidence:
    """Add a window of one arm: has the share of events risen above a limit between 0 and 1?

    Rows count as independent given what came before.
    """
    count = evidence.window_count + 1
    before = np.asarray(evidence.log_sums) if evidence.log_sums else np.full(len(_GRID), -math.inf)
    begun = np.logaddexp(before, -math.log(count * (count + 1)))
    after = begun + _binomial_log_ratios(_GRID, counted, limit)
    return ChangeEvidence(log_sums=tuple(float(value) for value in after), window_count=count)


def log_average(evidences: tuple[Evidence, ...]) -> float:
    """Return the logarithm of the mean of several e-values, which is one whatever joins them."""
    if not evidences:
        return 0.0
    logs = np.asarray([evidence.log_e for evidence in evidences])
    return _log_sum(logs) - math.log(len(logs))


def share_bound(counted: Counted, alpha: float) -> float:
    """Return what the true share is above with chance alpha at most (Chernoff's bound).

    The largest q with `count * KL(share, q) <= log(1/alpha)`. 1 if nothing was counted.
    """
    if not counted.all_count:
        return 1.0
    limit = math.log(1 / alpha) / counted.all_count
    low, high = counted.share, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(counted.share, middle) <= limit else (low, middle)
    return high


def _divergence(share: float, other: float) -> float:
    """Kullback and Leibler's, of one coin from another; `other` is the larger one."""
    if other >= 1:
        return math.inf if share < 1 else 0.0
    found = (1 - share) * math.log((1 - share) / (1 - other)) if share < 1 else 0.0
    return found + (share * math.log(share / other) if share else 0.0)


def _binomial_log_ratios(log_odds: FloatArray, counted: Counted, chance: float) -> FloatArray:
    return counted.event_count * log_odds - counted.all_count * _spreads(log_odds, chance)


def _spreads(log_odds: FloatArray, chance: float) -> FloatArray:
    """Log of 1 - p + p * theta."""
    return np.asarray(np.log1p(chance * np.expm1(log_odds)), dtype=np.float64)


def _log_means(log_odds: FloatArray, total: int, one: int, other: int) -> FloatArray:
    """Log of the mean of theta**k, if `total` events fall on `one` of `one + other` calls."""
    low, high = max(0, total - other), min(total, one)
    if high - low >= MAX_EXACT_COUNT:
        return _spreads(log_odds, one / (one + other)) * total
    before = np.arange(low, high, dtype=np.float64)
    steps = np.log(one - before) + np.log(total - before)
    steps -= np.log(before + 1) + np.log(other - total + before + 1)
    weights = np.concatenate(([0.0], np.cumsum(steps)))
    values = np.arange(low, high + 1, dtype=np.float64)
    joint = weights[None, :] + log_odds[:, None] * values[None, :]
    peaks = joint.max(axis=1)
    sums = np.log(np.exp(joint - peaks[:, None]).sum(axis=1)) + peaks
    return np.asarray(sums - _log_sum(weights), dtype=np.float64)


def _log_sum(logs: FloatArray) -> float:
    peak = float(logs.max())
    return peak + math.log(float(np.exp(logs - peak).sum()))
