"""What is known of drift as metric samples. Pure.

Of a version's columns 64 are exported, the first ones of the reference: always the same ones, so
that a series does not come and go. The API has them all.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from serving.monitor import catalogue
from serving.monitor.drift.severity import Severity
from serving.monitor.drift.view import VersionDrift, WatchState
from serving.monitor.exposition import Sample

MAX_FEATURES: Final = 64
WORDS: Final = tuple(severity.word for severity in Severity)


def drift_samples(found: Iterable[VersionDrift]) -> Iterator[Sample]:
    """Give the samples of every version that is watched; of one without a reference, only that."""
    for each in found:
        is_failed = each.state is WatchState.FAILED
        yield Sample(catalogue.DRIFT_FAILED, is_failed, (each.model, str(each.version)))
        # Some of its workers may watch, and what was found before stays an alarm.
        if each.monitor_digest or not is_failed:
            yield from _samples(each)


def _samples(each: VersionDrift) -> Iterator[Sample]:
    labels = (each.model, str(each.version))
    for one in sorted(each.features, key=lambda feature: feature.place)[:MAX_FEATURES]:
        yield Sample(catalogue.DRIFT_SCORE, one.score, (*labels, one.feature))
        if one.effect is not None:
            yield Sample(catalogue.DRIFT_EFFECT, one.effect, (*labels, one.feature))
    yield Sample(catalogue.DRIFT_ROWS, each.rows, labels)
    if each.last_update_s is not None:
        yield Sample(catalogue.DRIFT_UPDATE, each.last_update_s, labels)
    is_open = Counter(alarm.severity for alarm in each.alarms if alarm.is_open)
    for word in WORDS:
        yield Sample(catalogue.DRIFT_ALARMS, each.alarm_counts.get(word, 0), (*labels, word))
        yield Sample(catalogue.DRIFT_OPEN, is_open[word], (*labels, word))
    yield Sample(catalogue.MONITOR_SKIPPED, each.skipped_rows, labels)
