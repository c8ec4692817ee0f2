"""One version's merged stream and what it has shown: the decision, once for all workers. Pure.

Blocks come in with their times; what is news comes out. The same blocks give the same alarms,
whichever workers they are from.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from serving.monitor.drift.alarm_book import AlarmBook
from serving.monitor.drift.alert import DriftAlert, alert_of
from serving.monitor.drift.block_sums import total
from serving.monitor.drift.columns import IntArray
from serving.monitor.drift.detector import Detector
from serving.monitor.drift.encoding import ColumnReference
from serving.monitor.drift.merging import MergedStream, TimedBlock
from serving.monitor.drift.number_codec import NumberReference
from serving.monitor.drift.pace import Pace
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.score_history import ScoreHistory
from serving.monitor.drift.severity import Severity, cap_of
from serving.monitor.drift.stream import DriftReport
from serving.monitor.drift.summaries import (
    largest_share_change,
    summarise_levels,
    summarise_numbers,
    wasserstein_ratio,
)
from serving.monitor.drift.view import DriftAlarm, FeatureDrift, VersionDrift, WatchState, plain
from serving.monitor.drift.windows import WINDOWS
from serving.registry.policies.drift_policy import DEFAULT_DRIFT, DriftPolicy

SHOWN_ROWS: Final = WINDOWS[-1]
"""What columns are now is said of so many latest rows."""
SHOWN_PAIRS: Final = 5
LEARNT_CAP: Final = Severity.WARNING
RATE_S: Final = 60.0
"""The rate of rows is that of so many last seconds ..."""
RATE_BLOCKS: Final = 5
"""... or blocks, where those take longer to fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a reference is from."""

    name: str = "reference"
    is_learnt: bool = False
    """From the version's own traffic: nobody has vouched for it."""


def learnt_words(rows: int) -> str:
    """Name a reference that was learnt from traffic."""
    return f"first {rows} requests"


class WatchedVersion:
    """Belongs to one thread at a time."""

    def __init__(
        self,
        profile: Profile,
        book: AlarmBook,
        origin: Origin = Origin(),
        policy: DriftPolicy = DEFAULT_DRIFT,
    ) -> None:
        """Begin with nothing seen.

        Args:
            profile: Its reference.
            book: The alarms so far.
            origin: Where the reference is from.
            policy: What the model's configuration says.
        """
        self.book = book
        self._origin = origin
        self._pace = Pace(profile, policy)
        self.profile = self._pace.profile
        self._encoder = profile.encoder
        self._detector = Detector(profile)
        self._stream = MergedStream(profile.digest)
        self._latest: deque[TimedBlock] = deque()
        self._latest_rows = 0
        self._history = ScoreHistory()
        self._earlier_rows = 0
        self._skipped: dict[str, int] = {}
        self._workers = 0
        self._trouble = ""
        self.failure = ""
        """Why workers do not watch its rows, or some of them do not."""

    def take(self, reports: Sequence[DriftReport], now_s: float) -> list[DriftAlarm]:
        """Take in what workers report; return the alarms that people are to be told of."""
        digest = self.profile.digest
        told = [report for report in reports if report.digest == digest]
        strange = {one.digest[:12] for one in reports if one.digest} - {digest[:12]}
        # One that counts by another reference is no loss as long as others count by this one.
        lost = [one for one in reports if (not told if one.digest else one.trouble)]
        self._trouble = next((one.trouble for one in (*lost, *reports) if one.trouble), "")
        if strange:
            self._trouble = (
                f"workers count by other references ({', '.join(sorted(strange))}): left aside"
            )
        of_all = f"{len(lost)} of {len(reports)} workers do not watch its rows: " if told else ""
        self.failure = f"{of_all}{self._trouble}" if lost else ""
        self._workers = len(told)
        self._skipped = {
            **dict(list(self._skipped.items())[-1000:]),
            **{report.epoch: report.skipped_rows for report in told},
        }
        news: list[DriftAlarm] = []
        for block in self._stream.take(told):
            news.extend(self._decide(block, now_s))
        self.book.close_settled(self.rows)
        self._keep_pace(now_s)
        return news

    @property
    def rows(self) -> int:
        """How many rows were ever watched."""
        return self._earlier_rows + self._detector.rows

    def _keep_pace(self, now_s: float) -> None:
        """Judge by another threshold if the rate of rows wants it; windows begin anew then."""
        changed = self._pace.follow(self.rows_per_s(now_s), now_s)
        if changed is not None:
            self._earlier_rows = self.rows
            self.profile, self._detector = changed, Detector(changed)

    def _capped(self, alert: DriftAlert) -> DriftAlert:
        """Let no alarm by a learnt reference page anybody."""
        if not self._origin.is_learnt or alert.severity <= LEARNT_CAP:
            return alert
        reason = f"the reference is the {self._origin.name}, which nobody has vouched for"
        return replace(alert, severity=LEARNT_CAP, cap_reason=reason)

    def _decide(self, block: TimedBlock, now_s: float) -> Iterable[DriftAlarm]:
        """Judge one block."""
        self._keep(block)
        alarms = self._detector.push([block.sums])
        threshold = self.profile.calibration.threshold
        scores = alarms[0].component_scores if alarms else self._detector.component_scores
        self._history.note(block.at_s, self.rows, *self._largest(scores / threshold))
        for alarm in alarms:
            alert = self._capped(alert_of(self.profile, self._encoder, alarm))
            between = self._pace.rows_between
            alert = replace(alert, at_row=self.rows, mean_rows_between=between)
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
        if len(recent) < RATE_BLOCKS:
            recent = list(self._latest)[-RATE_BLOCKS:]
        if len(recent) < 2:  # noqa: PLR2004  one block says when it ended, not when it began
            return 0.0
        # The first block's rows came before its end, which is where the span begins.
        span_s = max(now_s - recent[0].at_s, 1.0)
        return sum(block.sums.rows for block in recent[1:]) / span_s

    def view(self, model: str, version: int, now_s: float) -> VersionDrift:
        """Describe it."""
        profile, threshold = self.profile, self.profile.calibration.threshold
        cap, reason = cap_of(profile)
        if self._origin.is_learnt and cap > LEARNT_CAP:
            cap, reason = LEARNT_CAP, "the reference was learnt from traffic"
        ratios = self._detector.component_scores / threshold
        rate = self.rows_per_s(now_s)
        between = self._pace.rows_between
        is_alarmed = any(alarm.is_open for alarm in self.book.alarms)
        state = WatchState.WATCHING if self.rows else WatchState.WAITING
        state = WatchState.ALARM if is_alarmed else state
        return VersionDrift(
            model=model,
            version=version,
            state=WatchState.FAILED if self.failure else state,
            reason=self.failure or self._trouble or reason,
            monitor_digest=profile.digest,
            reference=self._origin.name,
            reference_rows=profile.baseline.rows,
            calibration=profile.assumption.value,
            most_severe=cap.word,
            threshold=threshold,
            rows_between_false_alarms=between,
            seconds_between_false_alarms=between / rate if rate else None,
            rows=self.rows,
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
            known = (self.profile.bins[chosen], after)
            found.append(_feature(place, column, known, largest[column.name]))
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
    place: int, column: ColumnReference, bins: tuple[IntArray, IntArray | None], score: float
) -> FeatureDrift:
    before, after = bins
    is_number = isinstance(column, NumberReference)
    effect = None
    if after is not None and isinstance(column, NumberReference):
        effect = wasserstein_ratio(column, before, after)
    elif after is not None:
        effect = largest_share_change(before, after)
    return FeatureDrift(
        feature=column.name,
        place=place,
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
