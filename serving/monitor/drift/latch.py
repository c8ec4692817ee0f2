"""Which alarms are news: a change is told once, and again when it is worse or lasts. Pure."""

from typing import Final

from serving.monitor.drift.alert import DriftAlert
from serving.monitor.drift.severity import Severity

RENOTIFY_S: Final = 6 * 3600.0


class Latch:
    """Remembers what was told of one version."""

    def __init__(self, renotify_s: float = RENOTIFY_S) -> None:
        """Start with nothing told."""
        self._renotify_s = renotify_s
        self._told: dict[tuple[str, str], tuple[Severity, float]] = {}

    def is_news(self, alert: DriftAlert, now_s: float) -> bool:
        """Say whether people should be told, and remember that they were.

        Args:
            alert: The alarm.
            now_s: Seconds, monotonic.
        """
        key = (alert.kind, alert.feature)
        told = self._told.get(key)
        if told is not None and alert.severity <= told[0] and now_s - told[1] < self._renotify_s:
            return False
        self._told[key] = (alert.severity, now_s)
        return True

    def forget(self) -> None:
        """Take everything for settled: there is another reference."""
        self._told.clear()
