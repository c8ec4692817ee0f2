"""`GET /worker/vitals` on the control channel: versions that were called since they were loaded."""

from collections.abc import Sequence

from serving.monitor.vitals import VersionVitals, of_the_window
from serving.worker.loaded import LoadedVersion


def vitals(hosted: Sequence[LoadedVersion], now_ns: int) -> list[VersionVitals]:
    """Return the vitals of the versions that have had calls."""
    found: list[VersionVitals] = []
    for loaded in hosted:
        counters = loaded.statistics.traffic.calls(loaded.spec.key, now_ns)
        quality = None if loaded.quality is None else of_the_window(loaded.quality.report())
        if counters.counted.call_count or (quality is not None and quality.request_count):
            busy_ns = loaded.statistics.busy_ns
            found.append(
                VersionVitals(traffic=counters, quality=quality, at_ns=now_ns, busy_ns=busy_ns)
            )
    return found
