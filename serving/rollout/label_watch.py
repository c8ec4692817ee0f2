"""Watches how good versions are by their labels, and tells when one has become worse.

Belongs to the controller's event loop; reading and reckoning are done in a thread, and no more than
a twentieth of the time. It sees the labels that the controller's node can read: where an instance
has several nodes, the log is in a folder that they share or at a URL.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from serving.clock import Clock
from serving.collector_pause import paused_collector
from serving.ids import VersionKey
from serving.monitor.labels.drop import DropState
from serving.monitor.labels.performance import Cut
from serving.monitor.labels.rows import Kind
from serving.monitor.labels.summary import LabelSummary
from serving.monitor.sequential import Counted
from serving.predictions.labels.book import (
    LabelBook,
    VersionPerformance,
    performance_of,
    status_of,
)
from serving.predictions.labels.joining import Joined, ModelLabels, Wanted
from serving.predictions.labels.late import LateAnswers
from serving.predictions.reading import Filter
from serving.predictions.wanted import log_order
from serving.registry.announcing.label_events import announce_drop
from serving.registry.store import Registry
from serving.rollout.engine.label_signs import LabelCounts
from serving.settings import Settings

LOOK_S: Final = 5.0
REST_RATIO: Final = 19.0
"""It rests so many times as long as it has worked."""
MOST_PREDICTIONS: Final = 20_000
MOST_LATE_BYTES: Final = 64 << 20
"""Of the log, about so much is read at a look to find older predictions of a model with labels."""
MOST_REQUESTS: Final = 100_000
"""Of each version, so many are remembered for rollouts."""
MOST_VERSIONS: Final = 8
"""Of each model, so many are remembered: those that had labels last."""

log = structlog.get_logger(__name__)


class _Judged(NamedTuple):
    answered_s: float
    is_wrong: bool


class _Known(NamedTuple):
    """Requests of a version, by their ids."""

    digest: str
    requests: Mapping[str, _Judged]


NOTHING_KNOWN: Final = _Known("", {})


class LabelWatch:
    """One for each instance."""

    def __init__(self, book: LabelBook, registry: Registry, clock: Clock, grace_s: float) -> None:
        """Know nothing yet.

        Args:
            book: The log, and the labels beside it.
            registry: Whose outbox is told.
            clock: What events are dated by.
            grace_s: How long a label waits for its prediction.
        """
        self._book = book
        self._registry = registry
        self._clock = clock
        self._grace_s = grace_s
        self._seen: list[tuple[str, int]] = []
        self._waiting_rows = 0
        self._late: dict[str, LateAnswers] = {}
        self._is_behind = False
        self._told: set[tuple[VersionKey, str, str]] = set()
        self._known: dict[VersionKey, _Known] = {}
        self._has_looked = False
        self.summaries: tuple[LabelSummary, ...] = ()
        """What was found last."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            began_s = self._clock.monotonic_s()
            try:
                await asyncio.to_thread(self._look_uncollected)
            except Exception as error:  # noqa: BLE001  process edge: what serves must not end for it
                log.warning("labels_not_judged", reason=str(error)[:200])
            worked_s = self._clock.monotonic_s() - began_s
            await asyncio.sleep(max(LOOK_S, REST_RATIO * worked_s))

    def counts(self, candidate: VersionKey, live: int | None, since_s: float) -> LabelCounts | None:
        """Count wrong answers of two versions, of the requests that have a label.

        Args:
            candidate: One of them.
            live: The other one's number; None: there is none.
            since_s: Requests that were answered since then, in seconds since 1970.

        Returns:
            None: nothing was read yet.
        """
        if not self._has_looked:
            return None
        known = self._known
        other = None if live is None else VersionKey(candidate.model, live)
        live_requests = NOTHING_KNOWN if other is None else known.get(other, NOTHING_KNOWN)
        return LabelCounts(
            candidate=_counted(known.get(candidate, NOTHING_KNOWN).requests, since_s),
            live=_counted(live_requests.requests, since_s),
            live_ever=_counted(live_requests.requests, 0.0),
        )

    def _look_uncollected(self) -> None:
        with paused_collector():
            self.look()

    def look(self) -> None:
        """Judge all versions that have labels, if there are new ones; tell of those that dropped.

        Raises:
            BasculeError: A log or the catalog cannot be read.
        """
        there = [(one.name, one.changed_ms) for one in self._book.labels.segments()]
        is_news = there != self._seen or self._waiting_rows > 0 or self._is_behind
        if not (there and is_news):
            self._has_looked = True
            return
        waiting_rows = 0
        is_behind = False
        now_s = self._clock.utc_now().timestamp()
        summaries: list[LabelSummary] = []
        models = sorted(self._book.labels.models())
        for model in models:
            wanted = Wanted(
                predictions=Filter(model=model),
                most=MOST_PREDICTIONS,
                takes_late=True,
                counts_outside=False,
                grace_s=self._grace_s,
            )
            late = self._late.setdefault(model, LateAnswers(MOST_LATE_BYTES))
            found = self._book.joined(wanted, now_s, late)
            waiting_rows += found.unjoined.waiting
            is_behind = is_behind or found.is_behind
            self._remember(found)
            summaries += self._judged(found)
        self._known = {key: one for key, one in self._known.items() if key.model in models}
        self._late = {model: self._late[model] for model in models}
        self.summaries = tuple(summaries)
        # Only now: a look that failed is begun again, though there is no new label.
        self._seen, self._waiting_rows, self._has_looked = there, waiting_rows, True
        self._is_behind = is_behind

    def _judged(self, found: ModelLabels) -> list[LabelSummary]:
        references = self._book.kept.learnt(found)
        findings = self._book.kept.judged(found, references)
        status = status_of(found)
        performance = performance_of(found, Cut(), references, findings)
        summaries: list[LabelSummary] = []
        for joined, counted, judged in zip(
            found.joined, status.versions, performance.versions, strict=True
        ):
            summaries.append(_summary(judged, counted.delay_p50_s))
            if judged.drop.state is DropState.DROPPED:
                self._tell(joined, judged)
        return summaries

    def _remember(self, found: ModelLabels) -> None:
        """Judge each request once, by the first of its rows that got a label."""
        remembered = dict(self._known)
        for joined in found.joined:
            if joined.rows.kind is not Kind.CLASSES:
                continue
            known = joined.rows.labelled.in_order_of_labels()
            before = remembered.pop(joined.key, NOTHING_KNOWN)
            kept = dict(before.requests) if before.digest == joined.digest else {}
            for name, at_s, right in zip(known.ids, known.answered_s, known.is_right, strict=True):
                kept.setdefault(str(name), _Judged(float(at_s), not right))
            while len(kept) > MOST_REQUESTS:
                kept.pop(next(iter(kept)))
            remembered[joined.key] = _Known(joined.digest, kept)
        of_model = [key for key in remembered if key.model == found.model]
        of_model.sort(key=lambda key: _newest_s(remembered[key].requests))
        for key in of_model[:-MOST_VERSIONS]:
            del remembered[key]
        # New ones in their place: the loop may be counting the old ones.
        self._known = remembered

    def _tell(self, joined: Joined, judged: VersionPerformance) -> None:
        name = (joined.key, joined.digest, joined.output)
        if name in self._told:
            return
        data = {**drop_data(judged), "digest": joined.digest}
        with self._registry.database.noting() as connection:
            is_new = announce_drop(connection, joined.key, data, self._clock.utc_now())
        self._told.add(name)
        if is_new:
            log.warning("label_drop", **data)


def _newest_s(requests: Mapping[str, _Judged]) -> float:
    return max((one.answered_s for one in requests.values()), default=0.0)


def drop_data(judged: VersionPerformance) -> dict[str, object]:
    """Say what a drop is, for receivers."""
    drop = judged.drop
    return {
        "model": judged.model,
        "version": judged.version,
        "output": judged.output,
        "severity": "warning",
        "bad_row": drop.bad,
        "reference_share": drop.reference.value if drop.reference else None,
        "reference_rows": drop.reference_rows,
        "limit": drop.limit,
        "recent_share": drop.recent.value if drop.recent else None,
        "recent_rows": drop.recent.rows if drop.recent else 0,
        "false_alarm_chance": drop.alpha,
        "since": drop.since.isoformat() if drop.since else None,
        "prediction_id": drop.prediction_id,
        "labelled_rows": judged.labelled_rows,
        "command": f"bascule labels performance {judged.model}:{judged.version}",
    }


def label_watch(settings: Settings, registry: Registry, clock: Clock) -> LabelWatch | None:
    """Build what the settings ask for; None: no prediction is logged."""
    order = log_order(settings)
    if order is None:
        return None
    book = LabelBook(order.folder, order.url)
    return LabelWatch(book, registry, clock, settings.label_grace_s)


def _counted(requests: Mapping[str, _Judged], since_s: float) -> Counted:
    chosen = [one.is_wrong for one in requests.values() if one.answered_s >= since_s]
    return Counted(sum(chosen), len(chosen))


def _summary(judged: VersionPerformance, delay_p50_s: float | None) -> LabelSummary:
    figures, drop = judged.figures, judged.drop
    return LabelSummary(
        model=judged.model,
        version=judged.version,
        output=judged.output,
        rows=judged.rows,
        labelled_rows=judged.labelled_rows,
        accuracy=figures.accuracy.value if figures.accuracy else None,
        mae=figures.mae.value if figures.mae else None,
        delay_p50_s=delay_p50_s,
        drop_score=max(drop.log_evidence, 0.0) / drop.log_needed if drop.log_needed else 0.0,
        is_dropped=drop.state is DropState.DROPPED,
    )
