"""The alarms of one version: a change is told once, and again when it is worse or lasts. Pure.

One that was acknowledged is told again only when it gets worse. One that is not noticed any more
for two of the longest windows is over; what is noticed later is another one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from serving.monitor.drift.alert import DriftAlert
from serving.monitor.drift.latch import RENOTIFY_S
from serving.monitor.drift.severity import Severity
from serving.monitor.drift.view import Acknowledgement, DriftAlarm, plain
from serving.monitor.drift.windows import WINDOWS

SETTLED_ROWS: Final = 2 * WINDOWS[-1]
MAX_ALARMS: Final = 50
"""So many alarms are kept, the newest ones."""


class AlarmBook:
    """What was noticed, what was told, and what people said to it."""

    def __init__(
        self,
        subject: str,
        *,
        renotify_s: float = RENOTIFY_S,
        alarms: Iterable[DriftAlarm] = (),
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Begin with what is known.

        Args:
            subject: What alarms are about, for people.
            renotify_s: A change that lasts is told again after so long.
            alarms: Newest first.
            counts: Alarms so far, by severity.
        """
        self._subject = subject
        self._renotify_s = renotify_s
        self._alarms = [replace(alarm, last_row=0) for alarm in alarms]
        self.counts = Counter(counts or {})
        """Alarms that were told, by severity."""
        self.has_changed = False
        """Whether there is something that was not saved yet."""

    @property
    def alarms(self) -> tuple[DriftAlarm, ...]:
        """All that are kept, newest first."""
        return tuple(self._alarms)

    def note(
        self, alert: DriftAlert, *, since_s: float, at_s: float, now_s: float
    ) -> DriftAlarm | None:
        """Take in an alarm of the detector; return it if people are to be told.

        Args:
            alert: The alarm.
            since_s: When the rows began that showed it, in seconds since 1970.
            at_s: When they ended.
            now_s: Now.
        """
        place = self._place(alert)
        self.has_changed = True
        if place is None:
            alarm = self._new(alert, since_s, at_s, now_s)
            self._alarms = [alarm, *self._alarms][:MAX_ALARMS]
            self.counts[alarm.severity] += 1
            return alarm
        before = self._alarms[place]
        # What was told after now was told before the clock was set back: as if it were told now.
        told_s = min(before.told_s, now_s)
        seen = replace(
            before, last_s=at_s, last_row=alert.at_row, count=before.count + 1, told_s=told_s
        )
        if not self._is_news(before, alert.severity, now_s):
            self._alarms[place] = seen
            return None
        worse = max(alert.severity, Severity[before.severity.upper()])
        seen = replace(
            seen,
            severity=worse.word,
            told_s=now_s,
            text=self._text(alert, before.since_s),
            evidence=plain(alert.to_json()),
            acknowledged=None,
        )
        self._alarms[place] = seen
        self.counts[seen.severity] += 1
        return seen

    def acknowledge(self, said: Acknowledgement, alarm_id: str = "") -> tuple[DriftAlarm, ...]:
        """Note that somebody has seen the open alarms, or one of them; return which."""
        chosen = [
            place
            for place, alarm in enumerate(self._alarms)
            if alarm.is_open and alarm.acknowledged is None and alarm_id in {"", alarm.id}
        ]
        for place in chosen:
            self._alarms[place] = replace(self._alarms[place], acknowledged=said)
            self.has_changed = True
        return tuple(self._alarms[place] for place in chosen)

    def close_settled(self, rows: int) -> None:
        """End the alarms that were not noticed for long; `rows` were watched so far."""
        for place, alarm in enumerate(self._alarms):
            if alarm.is_open and rows - alarm.last_row > SETTLED_ROWS:
                self._alarms[place] = replace(alarm, is_open=False)
                self.has_changed = True

    def _new(self, alert: DriftAlert, since_s: float, at_s: float, now_s: float) -> DriftAlarm:
        return DriftAlarm(
            id=f"{alert.monitor_digest[:8]}-{int(at_s * 1000):x}-{self.counts.total():x}",
            severity=alert.severity.word,
            kind=alert.kind,
            feature=alert.feature,
            text=self._text(alert, since_s),
            since_s=since_s,
            at_s=at_s,
            last_s=at_s,
            last_row=alert.at_row,
            told_s=now_s,
            evidence=plain(alert.to_json()),
        )

    def _text(self, alert: DriftAlert, since_s: float) -> str:
        return alert.text(self._subject, since=utc_text(since_s))

    def _place(self, alert: DriftAlert) -> int | None:
        """Find the open alarm of the same change."""
        same = (
            place
            for place, alarm in enumerate(self._alarms)
            if alarm.is_open and (alarm.kind, alarm.feature) == (alert.kind, alert.feature)
        )
        return next(same, None)

    def _is_news(self, before: DriftAlarm, severity: Severity, now_s: float) -> bool:
        if severity > Severity[before.severity.upper()]:
            return True
        return before.acknowledged is None and now_s - before.told_s >= self._renotify_s


def utc_text(at_s: float) -> str:
    """Write a moment for people."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
