"""Tries the alarms about calls and about the monitor itself: failures, slowness, silence. Pure."""

from collections.abc import Iterator
from typing import Final

from serving.monitor.alarms.service_signs import LONG_S, SHORT_S, Promise, ServiceWindow
from serving.monitor.alarms.sign import BURN, SILENT, Sign
from serving.monitor.alarms.silence import MIN_CALLS, Heard, Silence
from serving.monitor.drift.block_sums import BLOCK_ROWS
from serving.monitor.selftest.trial import Outcome, Trial
from serving.monitor.traffic import TrafficDelta, latency_bucket

CALLS: Final = 1_000
STEP_S: Final = 5.0
SILENT_STEPS: Final = 35
"""They last nearly three times as long as silence takes to ring."""
NOW_S: Final = 1.6e9
NS: Final = 1e9


def service_trials(promise: Promise) -> Iterator[Trial]:
    """Try what rings when promises to callers are broken."""
    fast = latency_bucket(int(promise.threshold_s / 4 * NS))
    slow = latency_bucket(int(promise.threshold_s * 4 * NS))
    healthy = TrafficDelta(answered_count=CALLS, latency_counts={fast: CALLS})
    failing = TrafficDelta(fault_count=CALLS)
    slowed = TrafficDelta(answered_count=CALLS, latency_counts={slow: CALLS})
    yield _burn_trial(promise, "availability", healthy, failing, "every call fails")
    times = f"every call takes {promise.threshold_s * 4:g} s"
    yield _burn_trial(promise, "latency", healthy, slowed, times)


def _burn_trial(
    promise: Promise, name: str, healthy: TrafficDelta, bad: TrafficDelta, injected: str
) -> Trial:
    calm = _burns(promise, [healthy] * int(SHORT_S / STEP_S), name)
    burning = _burns(promise, [healthy] * int(LONG_S / STEP_S / 2) + [bad] * 300, name)
    return _trial(BURN, name, injected, calm, burning)


def _burns(promise: Promise, deltas: list[TrafficDelta], name: str) -> Sign | None:
    window, at_s, found = ServiceWindow(promise), NOW_S, None
    for delta in deltas:
        at_s += STEP_S
        window.add(delta, at_s)
        found = next((sign for sign in window.signs(at_s) if sign.name == name), found)
    return found


def silence_trial(rows_per_s: float) -> Trial:
    """Try what rings when the monitor of drift hears nothing.

    Args:
        rows_per_s: Rows that each worker watches, at most: of fewer one hears less often.
    """
    calm = _silence(rows_per_s, rows_per_s)
    return _trial(
        SILENT, "drift", "calls, and not one watched row", calm, _silence(rows_per_s, 0.0)
    )


def _silence(rows_per_s: float, coming_rows_per_s: float) -> Sign | None:
    """Let calls come, of which so many rows are heard of, by the block."""
    silence, found = Silence(NOW_S, rows_per_s), None
    step_s = 3 * silence.limit_s / (SILENT_STEPS + 1)
    for number in range(1, SILENT_STEPS + 1):
        after_s = number * step_s
        rows = int(after_s * coming_rows_per_s / BLOCK_ROWS) * BLOCK_ROWS
        found = next(silence.note(MIN_CALLS, Heard(rows=rows), NOW_S + after_s), found)
    return found


def _trial(kind: str, alarm: str, injected: str, calm: Sign | None, rung: Sign | None) -> Trial:
    if calm is not None:
        outcome, told = Outcome.FALSE, f"it rings when all is well: {calm.text}"
    elif rung is None:
        outcome, told = Outcome.SILENT, "nothing rings"
    else:
        outcome, told = Outcome.RANG, rung.text
    data = {} if rung is None else rung.to_json()
    return Trial(kind=kind, alarm=alarm, injected=injected, outcome=outcome, told=told, data=data)
