"""What counting a call for guardrails and histograms costs its worker.

python -m benchmarks.traffic_cost

Counts the answers of batches as `serving.worker.batcher` does, without a runtime or a network, and
says how many nanoseconds each call took: with the sum of instants alone (what Triton's statistics
need), and with each call's own latency. The best of many short rounds counts:
neighbours disturb the others.

Recorded on 2026-11-27, 2 CPUs of an AMD EPYC beside busy neighbours (an empty loop took 51 ns a
turn): 0.29 µs a call before and 2.26 µs now for batches of one call, 0.09 and 0.61 µs for eight,
0.07 and 0.39 µs for 64; half of that is for the histograms of stages. The batcher took 48 to 63 µs
for one call alone there, and 10 to 12 µs for each of eight: the difference is below what runs
differ by. Two instances side by side, with the histograms and without, `tiny` over HTTP through the
edge, ten rounds of 3 s in turn: 0.997 of the calls/s at one connection, 1.014 at 32 (medians of
pairs), 1.5 % and 1.1 % more CPU a call in the worker. A sampled row of 1,000 values took 46 to
65 µs a batch, while outputs are watched.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from benchmarks.command import run_main
from serving.monitor.stages import HTTP
from serving.monitor.traffic_recorder import TrafficRecorder

BATCHES: Final = 1024
"""Of one round: four times what is sorted into buckets at once."""
ROUNDS: Final = 300


def main() -> int:
    """Print one line for each batch size."""
    for batch_calls in (1, 8, 64):
        plain = best_ns(batch_calls, _summed)
        recorder = TrafficRecorder()

        def counted(instants: Sequence[int], end_ns: int, to: TrafficRecorder = recorder) -> int:
            return _counted(instants, end_ns, to)

        full = best_ns(batch_calls, counted)
        print(f"{batch_calls:3} calls a batch: {plain:5.0f} ns a call before, {full:5.0f} ns now")
    recorder = TrafficRecorder()
    recorder.watch_outputs(["y"], has_rows=True)
    outputs = [np.ones((4, 1000), np.float32)]
    begin_ns = time.perf_counter_ns()
    for _ in range(5_000):
        recorder.sample(outputs)
    print(
        f"a sampled row of 1000 values: {(time.perf_counter_ns() - begin_ns) / 5e6:.1f} µs a batch"
    )
    return 0


def best_ns(batch_calls: int, count: Callable[[Sequence[int], int], int]) -> float:
    """Return nanoseconds a call."""
    instants = [10**15 + number * 1_000 for number in range(batch_calls)]
    end_ns = 10**15 + 5_000_000
    best = float("inf")
    for _ in range(ROUNDS):
        begin_ns = time.perf_counter_ns()
        for _ in range(BATCHES):
            count(instants, end_ns)
        best = min(best, (time.perf_counter_ns() - begin_ns) / BATCHES / batch_calls)
    return best


def _summed(instants: Sequence[int], _: int) -> int:
    call_count = enqueued_sum_ns = 0
    for instant in instants:
        call_count += 1
        enqueued_sum_ns += instant
    return enqueued_sum_ns + call_count


def _counted(instants: Sequence[int], end_ns: int, recorder: TrafficRecorder) -> int:
    enqueued_ns: list[int] = []
    transports = bytearray()
    for instant in instants:
        enqueued_ns.append(instant)  # as the batcher does, beside other work
        transports.append(HTTP)
    moments = (end_ns - 3_000, end_ns - 2_000, end_ns - 1_000, end_ns)
    recorder.count_answered(enqueued_ns, transports, moments)
    return sum(enqueued_ns) + len(enqueued_ns)


if __name__ == "__main__":
    run_main(main)
