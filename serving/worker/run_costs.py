"""Fast path. What runs of a version cost, learnt per kind of call and power of two of rows.

Three figures, for three questions. Undisturbed: may a run happen on the loop, and what can be the
earliest end? On average, long runs counted as less: are some of one shape too long for the loop?
Expected: how long will what waits take?
"""

from typing import Any, Final

INLINE_NS: Final = 200_000  # a thread hop and back under load costs about as much
OUTLIER_RATIO: Final = 3  # one pre-empted run must not throw a short shape into the thread
MEAN_NS: Final = 5 * INLINE_NS
"""On average runs on the loop may take so long: some of one shape are long, others are not."""
MOST_NS: Final = 5 * MEAN_NS  # counts of a run: two in a row do not make the average long
MEAN_RATE: Final = 0.1
FALL_RATE: Final = 0.2
RISE_RATE: Final = 0.02
"""Ten times slower than down: what a run costs is what it costs undisturbed. On busy CPUs every
fifth run is pre-empted, and in a thread all wait for the interpreter's lock: an average would keep
short runs in threads for good."""
LONG_NS: Final = 100_000_000
"""No short run takes so long, pre-empted or not. One that did keeps its kind from the loop for as
many runs as threads would cost that time: how long others take may be up to their values, too."""
MOST_RUNS: Final = 100_000  # a process that was stopped for an hour goes on as before, some time
MAX_COSTS: Final = 4096
UNKNOWN: Final = (float(INLINE_NS), float(INLINE_NS), 0.0, 1.0, True, 0)


class RunCosts:
    """What runs cost. Belongs to the loop; threads may ask."""

    def __init__(self, *, mixes_lengths: bool = False, has_loops: bool = False) -> None:
        """Know nothing: unknown kinds count as long, and nothing is expected of them.

        Args:
            mixes_lengths: Runs of one kind and as many rows may be of any length: no one's cost
                tells of another's, so all kinds stay unknown.
            has_loops: How long a run takes may depend on its values: none may happen on the loop.
        """
        self._mixes_lengths = mixes_lengths
        self._inline_ns = 0 if has_loops else INLINE_NS
        self._costs: dict[Any, list[float]] = {}
        """Undisturbed, on average, expected; the rows of that; whether it was measured once; and
        for how many runs the kind is kept from the loop."""

    def is_short(self, stack_key: Any, rows: int) -> bool:  # noqa: ANN401  any hashable
        """Whether such a run may happen on the loop."""
        known = self._costs.get((stack_key, rows.bit_length()), UNKNOWN)
        return known[0] < self._inline_ns and known[1] < MEAN_NS and not known[5]

    def expected_ns(self, stack_key: Any, rows: int) -> int:  # noqa: ANN401  any hashable
        """Return how long such a run will take, rather less than more; 0: nobody knows."""
        return self._bounded_ns(stack_key, rows, is_least=False)

    def least_ns(self, stack_key: Any, rows: int) -> int:  # noqa: ANN401  any hashable
        """Return how long such a run takes if nothing disturbs it; 0: nobody knows.

        One measurement does not tell: it may have been disturbed, or the first of its shape.
        """
        return self._bounded_ns(stack_key, rows, is_least=True)

    def learn(self, stack_key: Any, rows: int, cost_ns: float) -> None:  # noqa: ANN401, C901, PLR0912  any hashable; the hot path
        """Take in one measurement; outliers count as three times what was known at most."""
        if self._mixes_lengths:
            return
        costs = self._costs
        key = (stack_key, rows.bit_length())
        known = costs.get(key)
        if known is None:
            if len(costs) >= MAX_COSTS:
                costs.clear()
            costs[key] = [cost_ns, cost_ns, cost_ns, rows, True, 0]
            return
        undisturbed, mean, expected, its_rows, is_first, kept_runs = known
        if is_first:
            known[4] = False
            if cost_ns < undisturbed:  # the first run of a shape often pays for what others find
                known[:4] = cost_ns, cost_ns, cost_ns, rows
                return
        most_ns = OUTLIER_RATIO * undisturbed
        if cost_ns < undisturbed:
            known[0] = undisturbed + FALL_RATE * (cost_ns - undisturbed)
        else:
            counted_ns = cost_ns if cost_ns < most_ns else most_ns  # noqa: FURB136  no call
            known[0] = undisturbed + RISE_RATE * (counted_ns - undisturbed)
        counted_ns = cost_ns if cost_ns < MOST_NS else MOST_NS  # noqa: FURB136  no call
        known[1] = mean + MEAN_RATE * (counted_ns - mean)
        if undisturbed < INLINE_NS:  # nothing waits long for these
            known[2] = undisturbed
            if kept_runs or cost_ns >= LONG_NS:
                known[5] = _kept_runs(kept_runs, cost_ns)
            return
        known[2] = expected + MEAN_RATE * (min(cost_ns, OUTLIER_RATIO * expected) - expected)
        known[3] = its_rows + MEAN_RATE * (rows - its_rows)

    def _bounded_ns(self, stack_key: Any, rows: int, *, is_least: bool) -> int:  # noqa: ANN401  any
        """Return a cost; twice as many rows take twice as long at most, whatever was measured."""
        bits = rows.bit_length()
        known = self._costs.get((stack_key, bits), UNKNOWN)
        if is_least and known[4]:
            return 0
        cost_ns = (min(known[0], known[2]) if is_least else known[2]) * min(1.0, rows / known[3])
        fewer = self._costs.get((stack_key, bits - 1))
        if fewer is not None:
            cost_ns = min(cost_ns, fewer[2] * max(2.0, rows / fewer[3]))
        return int(cost_ns)


def _kept_runs(kept_runs: float, cost_ns: float) -> float:
    """Return for how many runs a kind is kept from the loop, after one more."""
    if cost_ns < LONG_NS:
        return kept_runs - 1
    return min(kept_runs + cost_ns // INLINE_NS, MOST_RUNS)
