"""What a worker says of its traffic: `POST /worker/traffic` on the control channel.

Asking is what keeps outputs looked at: from the first question that wants them, until one that does
not, or until nobody has asked for a long time (`serving.monitor.traffic_recorder`).
"""

from collections.abc import Sequence
from dataclasses import replace

from serving.monitor.traffic import TrafficCounters
from serving.worker.control import TrafficQuestion
from serving.worker.loaded import LoadedVersion


def answer_traffic(
    question: TrafficQuestion, hosted: Sequence[LoadedVersion], now_ns: int
) -> list[TrafficCounters]:
    """Return the counters of the versions that were asked for and are hosted."""
    asked = set(question.keys)
    found: list[TrafficCounters] = []
    for loaded in hosted:
        if loaded.spec.key not in asked:
            continue
        traffic, served = loaded.statistics.traffic, loaded.served
        if question.with_outputs and loaded.model is not None:
            names = [output.name for output in served.outputs]
            traffic.watch_outputs(names, has_rows=served.max_batch_rows > 0)
        elif traffic.sampler is not None:
            traffic.forget_outputs()
        found.append(_with_quality(traffic.counters(loaded.spec.key, now_ns), loaded))
    return found


def _with_quality(counters: TrafficCounters, loaded: LoadedVersion) -> TrafficCounters:
    """Add what the version's data contract has counted."""
    if loaded.quality is None:
        return counters
    quality = loaded.quality.recorder.counts()
    return replace(counters, counted=replace(counters.counted, quality=quality))
