"""One version's merged stream and what it has shown: the decision, once for all workers. Pure.

Blocks come in with their times; what is news comes out. The same blocks give the same alarms,
whichever workers they are from.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np

from serving.monitor.drift.alarm_book import AlarmBook
from serving.monitor.drift.alert import alert_of
from serving.monitor.drift.block_sums import total
from serving.monitor.drift.columns import IntArray
from serving.monitor.drift.detector import Detector
from serving.monitor.drift.encoding import ColumnReference
from serving.monitor.drift.merging import MergedStream, TimedBlock
from serving.monitor.drift.number_codec import NumberReference
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.score_history import ScoreHistory
from serving.monitor.drift.severity import cap_of
from serving.monitor.drift.stream import DriftReport
from serving.monitor.drift.summaries import (
    largest_share_change,
    summarise_levels,
    summarise_numbers,
    wasserstein_ratio,
)
from serving.monitor.drift.view import DriftAlarm, FeatureDrift, VersionDrift, WatchState, plain
from serving.monitor.drift.windows import WINDOWS

SHOWN_ROWS: Final = WINDOWS[-1]
"""What columns are now is said of so many latest rows."""
SHOWN_PAIRS: Final = 5
RATE_S: Final = 60.0
"""The rate of rows is that of so many last seconds."""


class WatchedVersion:
    """Belongs to one thread at a time."""

    def __init__(self, profile: Profile, book: AlarmBook) -> None:
        """Begin with nothing seen.

        Args:
            profile: Its reference.
            book: The alarms so far.
        """
        self.profile = profile
        self.book = book
        self._encoder = profile.encoder
        self._detector = Detector(profile)
        self._stream = MergedStream(profile.digest)
        self._latest: deque[TimedBlock] = deque()
        self._latest_rows = 0
        self._history = ScoreHistory()
        self._skipped: dict[str, int] = {}
        self._workers = 0
        self._trouble = ""

    def take(self, reports: Sequence[DriftReport], now_s: float) -> list[DriftAlarm]:
        """Take in what workers report; return the alarms that people are to be told of."""
        told = [report for report in reports if report.digest == self.profile.digest]
        strange = {report.digest[:12] for report in reports if report.digest} - {
            self.profile.digest[:12]
        }
        self._trouble = next((report.trouble for report in reports if report.trouble), "")
        if strange:
            self._trouble = (
                f"workers count by other references ({', '.join(sorted(strange))}): left aside"
            )
        self._workers = len(told)
        self._skipped = {
            **dict(list(self._skipped.items())[-1000:]),
            **{report.epoch: report.skipped_rows for report in told},
        }
        news: list[DriftAlarm] = []
        for block in self._stream.take(told):
            news.extend(self._decide(block, now_s))
        self.book.close_settled(self._detector.rows)
        return news

    def _decide(self, block: TimedBlock, now_s: float) -> Iterable[DriftAlarm]:
        """Judge one block."""
        self._keep(block)
        alarms = self._detector.push([block.sums])
        threshold = self.profile.calibration.threshold
        scores = alarms[0].component_scores if alarms else self._detector.component_scores
        self._history.note(block.at_s, self._detector.rows, *self._largest(scores / threshold))
        for alarm in alarms:
            alert = alert_of(self.profile, self._encoder, alarm)
            since_s = self._time_of(alarm.window_rows)
            new = self.book.note(alert, since_s=since_s, at_s=block.at_s, now_s=now_s)
            if new is not None:
                yield new

    def _keep(self, block: TimedBlock) -> None:
        self._latest.append(block)
        self._latest_rows += block.sums.rows
        while self._latest_rows - self._latest[0].sums.rows >= SHOWN_ROWS:
            self._latest_rows -= self._latest.popleft().sums.rows

    def _time_of(self, rows: int) -> float:
        """Return when the block ended that came before the latest rows, or began with them."""
        seen = 0
        for block in reversed(self._latest):
            if seen >= rows:
                return block.at_s
            seen += block.sums.rows
        return self._latest[0].at_s

    def _largest(self, ratios: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, str]:
        place = int(ratios.argmax())
        return float(ratios[place]), " x ".join(self._encoder.components[place].features)

    def rows_per_s(self, now_s: float) -> float:
        """Return how many rows come in a second."""
        recent = [block for block in self._latest if block.at_s > now_s - RATE_S]
        if not recent:
            return 0.0
        span_s = max(now_s - min(block.at_s for block in recent), 1.0)
        return sum(block.sums.rows for block in recent) / span_s

    def view(self, model: str, version: int, reference: str, now_s: float) -> VersionDrift:
        """Describe it."""
        profile, threshold = self.profile, self.profile.calibration.threshold
        cap, reason = cap_of(profile)
        ratios = self._detector.component_scores / threshold
        rate = self.rows_per_s(now_s)
        between = profile.allowed.mean_rows_between
        is_alarmed = any(alarm.is_open for alarm in self.book.alarms)
        state = WatchState.WATCHING if self._detector.rows else WatchState.WAITING
        return VersionDrift(
            model=model,
            version=version,
            state=WatchState.ALARM if is_alarmed else state,
            reason=self._trouble or reason,
            monitor_digest=profile.digest,
            reference=reference,
            reference_rows=profile.baseline.rows,
            calibration=profile.assumption.value,
            most_severe=cap.word,
            threshold=threshold,
            rows_between_false_alarms=between,
            seconds_between_false_alarms=between / rate if rate else None,
            rows=self._detector.rows,
            rows_per_s=rate,
            skipped_rows=sum(self._skipped.values()),
            worker_count=self._workers,
            last_update_s=self._latest[-1].at_s if self._latest else None,
            score=float(ratios.max(initial=0.0)),
            features=self._features(ratios),
            pairs=self._pairs(ratios),
            alarms=self.book.alarms,
            alarm_counts=dict(self.book.counts),
            history=self._history.points(),
        )

    def _features(self, ratios: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[FeatureDrift, ...]:
        bins = total(block.sums for block in self._latest).bins if self._latest else None
        largest: Counter[str] = Counter()
        for component, ratio in zip(self._encoder.components, ratios.tolist(), strict=True):
            if not component.is_pair:
                name = component.features[0]
                largest[name] = max(largest[name], ratio)
        found = []
        for place, column in enumerate(self.profile.columns):
            chosen = slice(
                int(self._encoder.bin_starts[place]), int(self._encoder.bin_starts[place + 1])
            )
            after = None if bins is None else bins[chosen]
            found.append(_feature(column, self.profile.bins[chosen], after, largest[column.name]))
        return tuple(sorted(found, key=lambda one: -one.score))

    def _pairs(
        self, ratios: np.ndarray[Any, np.dtype[np.float64]]
    ) -> tuple[tuple[str, float], ...]:
        found = [
            (" x ".join(component.features), ratio)
            for component, ratio in zip(self._encoder.components, ratios.tolist(), strict=True)
            if component.is_pair
        ]
        return tuple(sorted(found, key=lambda one: -one[1])[:SHOWN_PAIRS])


def _feature(
    column: ColumnReference, before: IntArray, after: IntArray | None, score: float
) -> FeatureDrift:
    is_number = isinstance(column, NumberReference)
    effect = None
    if after is not None and isinstance(column, NumberReference):
        effect = wasserstein_ratio(column, before, after)
    elif after is not None:
        effect = largest_share_change(before, after)
    return FeatureDrift(
        feature=column.name,
        role=column.role.value,
        score=score,
        effect_name="Wasserstein/std" if is_number else "share",
        effect=effect,
        before=_summary(column, before),
        after={} if after is None else _summary(column, after),
    )


def _summary(column: ColumnReference, bins: IntArray) -> Mapping[str, Any]:
    if isinstance(column, NumberReference):
        return {**plain(asdict(summarise_numbers(column, bins)))}
    return {**plain(asdict(summarise_levels(column, bins)))}


def with_threshold(profile: Profile, threshold: float) -> Profile:
    """Return a profile that alarms at another score; its sums stay comparable."""
    return replace(profile, calibration=replace(profile.calibration, threshold=threshold))
