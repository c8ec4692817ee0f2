"""Which calls are watched: a share of them, uniformly and whole, that keeps to a rate and a cost.

The distance from one chosen call to the next is drawn from the geometric distribution, so each call
is chosen with the same probability, whatever came before. Twice a second the share is set anew:
from how many calls came, from how long copying one took, and from what counting its row takes: a
row of thousands of columns costs a hundred times what a row of a few does.
"""

from collections.abc import Callable
from math import inf, log, log1p
from typing import Final

ADAPT_NS: Final = 500_000_000
MAX_LOOP_SHARE: Final = 0.01
"""Of the loop's time, copying takes so much at most."""
MAX_THREAD_SHARE: Final = 0.005
"""Of a CPU, the thread that counts the rows of a version takes so much at most."""
LEAST_PER_S: Final = 20.0
"""So many rows a second are watched whatever counting them costs."""
MIN_SHARE: Final = 1e-6
_NS_PER_S: Final = 1_000_000_000


class RowSampler:
    """Draws distances between chosen calls."""

    __slots__ = (
        "_begin_ns",
        "_chosen",
        "_cost_ns",
        "_draw",
        "_log_passed",
        "_many",
        "_rate",
        "_share",
        "counted_ns",
    )

    def __init__(self, rate_per_s: float, draw: Callable[[], float]) -> None:
        """Choose every call at first.

        Args:
            rate_per_s: Calls that are chosen in a second, at most.
            draw: Gives random numbers from 0 to 1.
        """
        self._rate = rate_per_s
        self._draw = draw
        self._many = rate_per_s * ADAPT_NS / _NS_PER_S
        """With more chosen calls than this, the share is set anew at once."""
        self._share = 1.0
        self._log_passed = -inf
        """Logarithm of the share that is not chosen."""
        self._begin_ns = 0
        self._chosen = 0
        self._cost_ns = 0
        self.counted_ns = 0.0
        """What counting a row takes a CPU; another thread says so. 0: not known."""

    @property
    def share(self) -> float:
        """The share of calls that is chosen now."""
        return self._share

    def distance(self) -> int:
        """Draw how far it is to the next chosen call: 1 is the next one."""
        if self._share >= 1.0:
            return 1
        return 1 + int(log(1.0 - self._draw()) / self._log_passed)

    def note(self, chosen: int, begin_ns: int, end_ns: int) -> None:
        """Take in that calls were chosen and copied, and for how long that took."""
        self._chosen += chosen
        self._cost_ns += end_ns - begin_ns
        elapsed_ns = end_ns - self._begin_ns
        if elapsed_ns >= ADAPT_NS or self._chosen > self._many:
            self._adapt(elapsed_ns)
            self._begin_ns = end_ns

    def _adapt(self, elapsed_ns: int) -> None:
        """Set the share so that as many calls as came would have kept to rate and cost."""
        chosen, cost_ns = self._chosen, self._cost_ns
        self._chosen = self._cost_ns = 0
        if not chosen:
            return
        allowed = self._rate
        if cost_ns:
            allowed = min(allowed, MAX_LOOP_SHARE * _NS_PER_S * chosen / cost_ns)
        if self.counted_ns:
            affordable = MAX_THREAD_SHARE * _NS_PER_S / self.counted_ns
            allowed = min(allowed, max(affordable, LEAST_PER_S))
        arrived_per_s = chosen / self._share * _NS_PER_S / max(elapsed_ns, 1)
        self._share = share = min(1.0, max(MIN_SHARE, allowed / arrived_per_s))
        self._log_passed = log1p(-share) if share < 1.0 else -inf
