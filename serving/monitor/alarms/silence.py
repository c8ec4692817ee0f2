"""A monitor that hears nothing while there is traffic, or cannot watch, says so itself. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serving.monitor.alarms.sign import SILENT, Sign
from serving.monitor.drift.block_sums import BLOCK_ROWS
from serving.monitor.drift.severity import Severity

MIN_CALLS: Final = 5_000
"""So many calls give rows to any sampling: each of a worker's blocks has 256 at most."""
MIN_S: Final = 60.0
MISSED_BLOCKS: Final = 4
"""Rows are heard of by the block: so many that should have come and did not are silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the monitor of drift knows of a version."""

    rows: int = 0
    """How many were ever watched."""
    trouble: str = ""
    """Why none can be, or some worker's cannot; empty: they can."""
    is_learnt: bool = False
    """Its reference is, or would be, learnt from traffic: nobody has vouched for it."""


class Silence:
    """Of one version's monitor of drift."""

    def __init__(self, now_s: float, rows_per_s: float) -> None:
        """Begin as if something had just been heard.

        Args:
            now_s: In seconds since 1970.
            rows_per_s: Rows that each worker watches, at most.
        """
        self.limit_s: Final = max(MIN_S, MISSED_BLOCKS * BLOCK_ROWS / max(rows_per_s, 1e-9))
        self._heard_s = now_s
        self._well_s = now_s
        self._rows = 0
        self._calls = 0

    def rest(self, now_s: float) -> None:
        """There is nothing to hear now: what comes later counts from then."""
        self._heard_s, self._well_s, self._calls = now_s, now_s, 0

    def note(self, calls: int, heard: Heard, now_s: float) -> Iterator[Sign]:
        """Take in how many calls came since the last time, and what is heard of their rows."""
        if now_s < max(self._heard_s, self._well_s):  # the clock was set back
            self.rest(now_s)
        if heard.rows != self._rows:
            self._rows, self._calls, self._heard_s = heard.rows, 0, now_s
        self._calls += calls
        if not heard.trouble:
            self._well_s = now_s
        silent_s = now_s - self._heard_s
        trouble_s = now_s - self._well_s
        if heard.trouble and trouble_s >= MIN_S:
            yield Sign(
                kind=SILENT,
                name="drift",
                value=trouble_s,
                limit=MIN_S,
                severity=Severity.WARNING if heard.is_learnt else Severity.CRITICAL,
                text=f"drift: its rows are not watched: {heard.trouble}",
            )
        elif self._calls >= MIN_CALLS and silent_s >= self.limit_s:
            yield Sign(
                kind=SILENT,
                name="drift",
                value=silent_s,
                limit=self.limit_s,
                severity=Severity.CRITICAL,
                text=(
                    f"drift: no row was watched for {silent_s:.0f} s, while {self._calls:,} calls "
                    "were answered: see `bascule drift`"
                ),
            )
