"""A monitor that hears nothing while there is traffic says so itself. Pure."""

from collections.abc import Iterator
from typing import Final

from serving.monitor.alarms.sign import SILENT, Sign
from serving.monitor.drift.block_sums import BLOCK_ROWS
from serving.monitor.drift.severity import Severity

MIN_CALLS: Final = 5_000
"""So many calls give rows to any sampling: each of a worker's blocks has 256 at most."""
MIN_S: Final = 60.0
MISSED_BLOCKS: Final = 4
"""Rows are heard of by the block: so many that should have come and did not are silence."""


class Silence:
    """Of one version's monitor of drift."""

    def __init__(self, now_s: float, rows_per_s: float) -> None:
        """Begin as if something had just been heard.

        Args:
            now_s: In seconds since 1970.
            rows_per_s: Rows that each worker watches, at most.
        """
        self._min_s = max(MIN_S, MISSED_BLOCKS * BLOCK_ROWS / max(rows_per_s, 1e-9))
        self._heard_s = now_s
        self._rows = 0
        self._calls = 0

    def note(self, calls: int, rows: int, now_s: float) -> Iterator[Sign]:
        """Take in how many calls came since the last time, and how many rows were ever watched."""
        if rows != self._rows:
            self._rows, self._calls, self._heard_s = rows, 0, now_s
        self._calls += calls
        silent_s = now_s - self._heard_s
        if self._calls >= MIN_CALLS and silent_s >= self._min_s:
            yield Sign(
                kind=SILENT,
                name="drift",
                value=silent_s,
                limit=self._min_s,
                severity=Severity.CRITICAL,
                text=(
                    f"drift: no row was watched for {silent_s:.0f} s, while {self._calls:,} calls "
                    "were answered: see `bascule drift`"
                ),
            )
