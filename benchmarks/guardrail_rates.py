"""How often guardrails alarm without cause, and how many calls they need with one.

python -m benchmarks.guardrail_rates [--rollouts 1000] [--windows 10] [--repeats 10]

Simulated traffic, one window a second, looked at after every window; seeds are fixed. Without
cause, both versions answer alike: steadily, in bursts of slowness and faults that both share, in
bursts of each for itself (its latencies follow an AR(1) of their own), and after a flip, compared
with the live version's calls from before it. In one more the candidate is exactly as bad as the
limits allow: slower by the limit, as many rows off, both failing 5 %; in another one so by its own
data contract. Contracts refuse 2 % of the calls and find as many answers broken. Latencies are
lognormal (sigma 0.5) around 10 ms.

Recorded on 2026-11-27 with --windows 20 --repeats 20, 800 calls of the candidate in each rollout:
of 8 times 1,000, 2 were rolled back (bursts that both share; data contracts alike); 1 % is allowed.
Median calls of the candidate until a cause was found, in brackets the most of 20:

    cause                                 share 10 %      share 50 %      after a flip
    twice as slow (p95, limit 1.5)        830 (1,637)     916 (1,857)     800 (1,760)
    1 % of rows off (limit 0.1 %)         480 (1,135)     554 (1,601)     440 (1,760)
    errors 0 -> 1 %                       412 (699)       1,202 (2,024)   1,900 (5,360)
    errors 0.1 -> 2 %                     286 (839)       680 (1,350)     560 (2,040)
    outputs moved by 0.5 sd               855 (1,500)     1,202 (2,352)   1,280 (1,680)
    requests refused 0 -> 2 %             236 (393)       542 (1,017)     480 (1,000)
    answers broken 0.1 -> 2 %             228 (696)       932 (1,894)     600 (2,120)
    requests refused 3 % (limit 1 %)      514 (1,349)     664 (1,822)     680 (1,920)

A flip's baseline is of 2,000 calls; of outputs, one row in four calls is sampled. With the defaults
it takes two minutes of CPU.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_main
from serving.monitor.output_bins import output_bin
from serving.monitor.traffic import BUCKETS_PER_DOUBLING, QualityCounts, TrafficDelta
from serving.registry.rollouts.plan import Guardrails, QualityTest
from serving.rollout.engine.guardrails import Watch, Window, baking, observe

MIDDLE_US: Final = 10_000.0
DEFAULT: Final = Guardrails()
COMPARED: Final = Guardrails(data_quality=QualityTest.COMPARED)
LIMITED: Final = Guardrails(data_quality=QualityTest.LIMITED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """How one version behaves."""

    slowness: float = 1.0
    fault_rate: float = 0.002
    output_mean: float = 0.0
    mismatch_share: float = 0.0005
    refused_share: float = 0.02
    broken_share: float = 0.02
    """Of the calls, by a data contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a rollout goes through."""

    name: str
    candidate: Arm = Arm()
    live: Arm = Arm()
    share: float = 0.1
    calls_per_window: int = 400
    shared_sd: float = 0.0
    """Of the AR(0.9) that both arms' logarithms of latency follow."""
    own_sd: float = 0.0
    """Of the AR(0.7) that each follows for itself."""
    burst_share: float = 0.0
    """Windows in which a fifth of all calls fail, of either version."""
    is_after_flip: bool = False
    guardrails: Guardrails = DEFAULT


WITHOUT_CAUSE: Final = (
    Scenario(name="steady, outputs watched", guardrails=Guardrails(output_shift=True)),
    Scenario(name="bursts that both share", shared_sd=0.3, burst_share=0.1),
    Scenario(name="bursts of each arm", own_sd=0.15, share=0.5, calls_per_window=80),
    Scenario(
        name="as bad as allowed",
        candidate=Arm(slowness=2.0 ** (5 / 8), fault_rate=0.05, mismatch_share=0.001),
        live=Arm(fault_rate=0.05),
    ),
    Scenario(name="after a flip", shared_sd=0.05, is_after_flip=True, calls_per_window=40),
    Scenario(name="data contracts alike", guardrails=COMPARED),
    Scenario(
        name="data contracts alike, after a flip",
        is_after_flip=True,
        calls_per_window=40,
        guardrails=COMPARED,
    ),
    Scenario(
        name="a contract as bad as allowed",
        candidate=Arm(refused_share=0.01, broken_share=0.01),
        guardrails=LIMITED,
    ),
)
CAUSES: Final = (
    Scenario(name="twice as slow (p95, limit 1.5)", candidate=Arm(slowness=2.0)),
    Scenario(name="1 % of rows off (limit 0.1 %)", candidate=Arm(mismatch_share=0.01)),
    Scenario(name="errors 0 -> 1 %", candidate=Arm(fault_rate=0.01), live=Arm(fault_rate=0.0)),
    Scenario(name="errors 0.1 -> 2 %", candidate=Arm(fault_rate=0.02), live=Arm(fault_rate=0.001)),
    Scenario(
        name="outputs moved by 0.5 sd",
        candidate=Arm(output_mean=0.5),
        guardrails=Guardrails(output_shift=True),
    ),
    Scenario(
        name="requests refused 0 -> 2 %",
        live=Arm(refused_share=0.0),
        guardrails=COMPARED,
    ),
    Scenario(
        name="answers broken 0.1 -> 2 %",
        live=Arm(broken_share=0.001),
        guardrails=COMPARED,
    ),
    Scenario(
        name="requests refused 3 % (limit 1 %)",
        candidate=Arm(refused_share=0.03, broken_share=0.0),
        guardrails=LIMITED,
    ),
)


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guardrail_rates")
    parser.add_argument("--rollouts", type=int, default=1000, help="without cause, of each kind")
    parser.add_argument("--windows", type=int, default=10, help="looks at each of them")
    parser.add_argument("--repeats", type=int, default=10, help="of each cause")
    options = parser.parse_args()
    console = Console(width=100)
    console.print(alarm_table(options.rollouts, options.windows))
    console.print(delay_table(options.repeats))
    return 0


def alarm_table(rollouts: int, windows: int) -> Table:
    """Count the rollouts that would have been rolled back without cause."""
    table = Table("without cause", "rollouts", "candidate's calls each", "rolled back", "allowed")
    for scenario in WITHOUT_CAUSE:
        alarms = sum(bool(calls_to_alarm(scenario, seed, windows)) for seed in range(rollouts))
        calls = windows * round(scenario.calls_per_window * _share(scenario))
        allowed = f"{scenario.guardrails.alpha:.1%}"
        table.add_row(scenario.name, str(rollouts), str(calls), f"{alarms / rollouts:.2%}", allowed)
    return table


def delay_table(repeats: int) -> Table:
    """Count the candidate's calls until a cause is found."""
    table = Table("cause", "share", "found", "candidate's calls: median", "most")
    for cause in CAUSES:
        for share in (0.1, 0.5, 1.0):
            scenario = replace(
                cause,
                share=share,
                is_after_flip=share == 1,
                calls_per_window=round(40 / share),
            )
            delays = [
                delay for seed in range(repeats) if (delay := calls_to_alarm(scenario, seed, 200))
            ]
            table.add_row(
                cause.name,
                f"{share:.0%}" if share < 1 else "after a flip",
                f"{len(delays)} of {repeats}",
                f"{statistics.median(delays):,.0f}" if delays else "-",
                f"{max(delays):,}" if delays else "-",
            )
    return table


def calls_to_alarm(scenario: Scenario, seed: int, windows: int) -> int:
    """Return how many calls the candidate had when the first guardrail was reached; 0: none was."""
    rng = np.random.default_rng((seed, len(scenario.name)))
    watch = Watch(seed=seed)
    if scenario.is_after_flip:
        before = _traffic(rng, scenario.live, 2000, 0.0, 0.0)
        watch = baking(watch, before)
    for number, window in enumerate(traffic(rng, scenario)):
        watch = observe(watch, window, scenario.guardrails)
        if watch.breaches:
            return watch.all_calls.all_count
        if number + 1 >= windows:
            break
    return 0


def traffic(rng: np.random.Generator, scenario: Scenario) -> Iterator[Window]:
    """Simulate windows, without end."""
    shared, candidate_level, live_level = 0.0, 0.0, 0.0
    while True:
        shared = _next_level(rng, shared, 0.9, scenario.shared_sd)
        candidate_level = _next_level(rng, candidate_level, 0.7, scenario.own_sd)
        live_level = _next_level(rng, live_level, 0.7, scenario.own_sd)
        burst = 0.2 if rng.random() < scenario.burst_share else 0.0
        count = int(rng.binomial(scenario.calls_per_window, _share(scenario)))
        rest = scenario.calls_per_window - count
        yield Window(
            duration_s=1.0,
            candidate=_traffic(rng, scenario.candidate, count, shared + candidate_level, burst),
            live=_traffic(rng, scenario.live, rest, shared + live_level, burst),
            compared_rows=count,
            mismatched_rows=int(rng.binomial(count, scenario.candidate.mismatch_share)),
        )


def _share(scenario: Scenario) -> float:
    return 1.0 if scenario.is_after_flip else scenario.share


def _next_level(rng: np.random.Generator, before: float, memory: float, sd: float) -> float:
    return memory * before + float(rng.normal(0.0, sd * (1 - memory**2) ** 0.5)) if sd else 0.0


def _traffic(
    rng: np.random.Generator, arm: Arm, count: int, level: float, burst: float
) -> TrafficDelta:
    faults = int(rng.binomial(count, max(arm.fault_rate, burst)))
    logs = rng.normal(np.log2(MIDDLE_US * arm.slowness) + level / np.log(2), 0.5 / np.log(2), count)
    buckets, counts = np.unique((logs * BUCKETS_PER_DOUBLING).astype(np.int64), return_counts=True)
    values = rng.normal(arm.output_mean, 1.0, count // 4).tolist()
    bins = Counter(map(output_bin, values))
    return TrafficDelta(
        answered_count=count - faults,
        fault_count=faults,
        latency_counts=dict(zip(buckets.tolist(), counts.tolist(), strict=True)),
        outputs={"y": bins} if bins else {},
        quality=_quality(rng, arm, count, max(0, count - faults)),
    )


def _quality(rng: np.random.Generator, arm: Arm, count: int, answered: int) -> QualityCounts:
    refused = int(rng.binomial(count, arm.refused_share))
    broken = int(rng.binomial(answered, arm.broken_share))
    return QualityCounts(
        judged_count=count, refused_count=refused, answer_count=answered, broken_count=broken
    )


if __name__ == "__main__":
    run_main(main)
