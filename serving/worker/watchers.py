"""All who look at a worker's answered calls, as its arguments want them."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving import clock
from serving.registry.version import VersionSpec
from serving.worker.arguments import Arguments
from serving.worker.drift.monitor import DriftMonitor
from serving.worker.loaded import nameless, public
from serving.worker.own_environment import OwnEnvironment
from serving.worker.prediction_log import PredictionLog
from serving.worker.prediction_names import PredictionNames
from serving.worker.spans import SpanMaker, SpanThread
from serving.worker.tap import Tap

DRIFT_END_S = 0.2
SPANS_END_S = 2.0
LOG_END_S = 2.0
"""For answered calls that are not written to the log yet, at a worker's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchers:
    """What the versions of a worker get their observers from."""

    taps: tuple[Tap, ...] = ()
    name_predictions: Callable[[VersionSpec], PredictionNames | None] = nameless
    is_private: Callable[[VersionSpec], bool] = public
    log: PredictionLog | None = None
    drift: DriftMonitor | None = None
    spans: SpanThread | None = None

    def close(self) -> bool:
        """Write what waits, as far as time allows; say whether all threads have ended."""
        has_counted = self.drift is None or self.drift.close(DRIFT_END_S)
        has_sent = self.spans is None or self.spans.close(SPANS_END_S)
        return all([self.log is None or self.log.close(LOG_END_S), has_counted, has_sent])


def open_watchers(arguments: Arguments, own: OwnEnvironment) -> Watchers:
    """Begin to look where the arguments say so."""
    order = arguments.drift
    drift = None if order is None else DriftMonitor(order, clock.utc_s)
    spans = _open_spans(arguments)
    watching: list[Tap] = [] if drift is None else [drift.tap]
    if spans is not None:
        watching.append(spans.tap)
    if arguments.prediction_log is None:
        return Watchers(taps=tuple(watching), drift=drift, spans=spans)
    kept = PredictionLog(
        arguments.prediction_log,
        arguments.worker,
        os.getpid(),
        own=own,
        now_ns=time.perf_counter_ns,
        unix_ns=time.time_ns,
    )
    return Watchers(
        taps=(kept.tap, *watching),
        name_predictions=kept.names_for,
        is_private=kept.is_private,
        log=kept,
        drift=drift,
        spans=spans,
    )


def _open_spans(arguments: Arguments) -> SpanThread | None:
    order = arguments.spans
    if order is None:
        return None

    def maker() -> SpanMaker:
        from serving.worker.span_export import OtlpSpans  # noqa: PLC0415  only where it is wanted

        return OtlpSpans(order.endpoint, arguments.worker)

    return SpanThread(order.share, maker)
