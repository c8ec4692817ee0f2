"""Promises about calls that are broken faster than their budget allows. Pure.

The burn rate is the share of bad calls over the share that may be bad. It has to be high in a long
window, so that a short fault wakes nobody, and in a short one, so that the alarm ends with its
cause (the multi-window rule for a budget of 30 days: 14.4 times uses 2 % of it in an hour).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serving.monitor.alarms.sign import BURN, Sign
from serving.monitor.drift.severity import Severity
from serving.monitor.traffic import TrafficDelta, bucket_end_s

SHORT_S: Final = 300.0
LONG_S: Final = 3600.0
MAX_BURN: Final = 14.4
CERTAIN_SHARE: Final = 0.9
"""So many bad calls ring whatever the budget: one of a tenth burns 10 times too fast at most."""
MIN_BAD_CALLS: Final = 10
"""In the short window: one slow call of three is no emergency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What callers of a model were promised."""

    availability: float
    """Share of calls that do not fail by the server's fault."""
    threshold_s: float
    fast_share: float
    """Share of the answered calls that are faster than the threshold."""


@dataclass(frozen=True, slots=True)
class _Counts:
    at_s: float
    calls: int
    faults: int
    answered: int
    slow: int


class ServiceWindow:
    """The calls of one version in the last hour."""

    def __init__(self, promise: Promise) -> None:
        """Begin with no calls."""
        self._promise = promise
        self._counts: deque[_Counts] = deque()

    def add(self, delta: TrafficDelta, at_s: float) -> None:
        """Take in what became of calls since the last time.

        Calls from before the clock was set back are forgotten: how long ago they came nobody knows.
        """
        while self._counts and self._counts[-1].at_s > at_s:
            self._counts.pop()
        slow = sum(
            count
            for bucket, count in delta.latency_counts.items()
            if bucket_end_s(bucket - 1) >= self._promise.threshold_s
        )
        if delta.call_count:
            self._counts.append(
                _Counts(at_s, delta.call_count, delta.fault_count, delta.answered_count, slow)
            )
        while self._counts and self._counts[0].at_s <= at_s - LONG_S:
            self._counts.popleft()

    def signs(self, at_s: float) -> Iterator[Sign]:
        """Say which promises are being broken."""
        promise = self._promise
        short = [one for one in self._counts if one.at_s > at_s - SHORT_S]
        budgets = {"availability": 1 - promise.availability, "latency": 1 - promise.fast_share}
        faults = (
            sum(one.faults for one in short),
            _rate(short, "faults", "calls") / budgets["availability"],
            _rate(self._counts, "faults", "calls") / budgets["availability"],
        )
        slow = (
            sum(one.slow for one in short),
            _rate(short, "slow", "answered") / budgets["latency"],
            _rate(self._counts, "slow", "answered") / budgets["latency"],
        )
        whats = {
            "availability": f"calls failed ({1 - promise.availability:.3%} may)",
            "latency": (
                f"calls took over {promise.threshold_s:g} s ({1 - promise.fast_share:.3%} may)"
            ),
        }
        for name, (bad, burn, long_burn) in {"availability": faults, "latency": slow}.items():
            limit = min(MAX_BURN, CERTAIN_SHARE / budgets[name])
            if bad >= MIN_BAD_CALLS and min(burn, long_burn) >= limit:
                yield Sign(
                    kind=BURN,
                    name=name,
                    value=burn,
                    limit=limit,
                    severity=Severity.CRITICAL,
                    text=(
                        f"{name}: {bad:,} {whats[name]}; the budget burns {burn:.0f} times too "
                        f"fast in {SHORT_S / 60:g} minutes, {long_burn:.0f} times in an hour"
                    ),
                )


def _rate(counts: "deque[_Counts] | list[_Counts]", bad: str, whole: str) -> float:
    total = sum(getattr(one, whole) for one in counts)
    return sum(getattr(one, bad) for one in counts) / total if total else 0.0
