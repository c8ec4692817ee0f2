"""A burst of four times the load on a scaled model, then quiet, then nobody, then a first call.

    python -m benchmarks.scaling [--seconds 20] [--first-calls 5] [--results DIR]

The load is an open loop (`benchmarks.overload`): a latency counts from the moment at which the call
was to be sent. The steady rate is a share of what a closed loop got from all workers together, so
that the burst is more than one worker can answer. Beside the load, the instance's status is asked
five times a second: when workers are wanted, when they answer, when they have gone. At the end the
model sleeps, and calls that come one at a time after each sleep are timed. Exits 1 when a call
failed.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks.command import add_results, command_parser, count, positive, run_main
from benchmarks.instance import Instance, InstanceError, running_instance, until
from benchmarks.load_tools import LoadError, http_load, require_tools
from benchmarks.loads import Request
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.overload import heavy, rows_of
from benchmarks.report import machine_lines, write
from serving.cli.admin_client import AdminClient
from serving.cli.load.open_loop import ANSWERED, Call
from serving.cli.load.summary import quantile

WORKERS: Final = 2
BURST: Final = 4.0
STEADY_SHARE: Final = 1 / 10
"""Of the capacity of all workers, which share cores with the clients: one of two answers that with
room to spare, and not four times as much."""
DOWN_DELAY_S: Final = 5.0
IDLE_S: Final = 5.0
LOOK_S: Final = 0.2
LIMIT_S: Final = 120.0
CAPACITY_CONNECTIONS: Final = 16
POLICY: Final = {
    "min_replicas": "0",
    "max_replicas": f"{WORKERS}",
    "scale_down_delay": f"{DOWN_DELAY_S:g}s",
    "idle_to_zero": f"{IDLE_S:g}s",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What status said of the model's workers."""

    at_s: float
    wanted: int
    ready: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Some seconds at one rate, and the workers meanwhile."""

    name: str
    rate: float
    began_s: float
    calls: Sequence[Call]
    seen: Sequence[Seen]

    def p(self, share: float) -> float:
        """Return a quantile of the answered calls' times, in seconds."""
        return quantile(sorted(c.took_s for c in self.calls if c.status == ANSWERED), share)

    @property
    def failed_count(self) -> int:
        """Calls that got no answer."""
        return sum(one.status != ANSWERED for one in self.calls)

    def after_s(self, holds: Callable[[Seen], bool]) -> float | None:
        """Return how long after the beginning something was seen first; None: never."""
        return next((one.at_s - self.began_s for one in self.seen if holds(one)), None)


@dataclass(slots=True)
class Bench:
    """One instance under one model's load."""

    instance: Instance
    request: Request
    stages: list[Stage] = field(default_factory=list)

    def workers(self) -> Seen:
        """Ask the instance's status."""
        (scale,) = AdminClient(self.instance.home / "run" / "admin.sock").status().scales
        return Seen(time.monotonic(), scale.wanted, scale.ready)

    def until_workers(self, count: int) -> None:
        """Wait until so many are wanted and answer."""
        until(lambda: self._are(count), LIMIT_S, f"{count} workers")

    def _are(self, count: int) -> bool:
        seen = self.workers()
        return seen.wanted == seen.ready == count

    def load(self, name: str, rate: float, seconds: float) -> Stage:
        """Send at a rate for some seconds, and look at the workers meanwhile."""
        stage = asyncio.run(self._load(name, rate, seconds))
        self.stages.append(stage)
        return stage

    async def _load(self, name: str, rate: float, seconds: float) -> Stage:
        seen: list[Seen] = []
        loop = self.request.open_loop(self.instance.http, seed=1)
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(loop.run(rate, seconds))
            while not sending.done():
                seen.append(await asyncio.to_thread(self.workers))
                await asyncio.sleep(LOOK_S)
        return Stage(name=name, rate=rate, began_s=began_s, calls=sending.result(), seen=seen)

    def first_call(self) -> Call:
        """Wait until the model sleeps, then send one call."""
        self.until_workers(0)
        until(lambda: not self.instance.status()["workers"], LIMIT_S, "the last worker has ended")
        loop = self.request.open_loop(self.instance.http, seed=1)
        (call,) = asyncio.run(loop.run_one())
        return call


def scaled_model() -> ModelFolder:
    """`heavy`, with as many workers as its calls need."""
    model = heavy()
    extra = "".join(
        f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'
        for name, value in POLICY.items()
    )
    return replace(model, config=replace(model.config, extra=extra))


def measure(bench: Bench, options: argparse.Namespace, folder: Path) -> list[Call]:
    """Run the stages; return the first calls after zero."""
    script = bench.request.write_for_wrk(folder)
    path, http = bench.request.path, bench.instance.http
    http_load(http, path, script, CAPACITY_CONNECTIONS, options.seconds)  # all workers come
    found = http_load(http, path, script, CAPACITY_CONNECTIONS, options.seconds / 2)
    rate = STEADY_SHARE * found.requests_per_s
    print(f"capacity of {WORKERS} workers: {found.requests_per_s:.0f} calls/s", flush=True)
    bench.load("settling", rate, DOWN_DELAY_S * 3)
    bench.load("steady", rate, options.seconds)
    bench.load("burst", BURST * rate, options.seconds)
    bench.load("steady again", rate, options.seconds)
    return [bench.first_call() for _ in range(options.first_calls)]


def page(stages: Sequence[Stage], first: Sequence[Call]) -> str:
    """Return the report as Markdown."""
    _, steady, burst, again = stages
    lines = [
        f"# A burst of {BURST:g} times the load on a scaled model (0 to {WORKERS} workers)",
        "",
        *machine_lines(),
        "",
        "| | sent/s | calls | failed | p50 ms | p99 ms | workers at the end |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.name} | {one.rate:.0f} | {len(one.calls)} | {one.failed_count} | "
        f"{one.p(0.5) * 1e3:.1f} | {one.p(0.99) * 1e3:.1f} | {one.seen[-1].ready} |"
        for one in stages
    ]
    waits = sorted(one.took_s for one in first)
    wanted = _text(burst.after_s(lambda one: one.wanted > 1))
    ready = _text(burst.after_s(lambda one: one.ready > 1))
    alone = _text(again.after_s(lambda one: one.ready == 1))
    failed = sum(one.status != ANSWERED for one in first)
    findings = (
        f"the burst's p99 is {burst.p(0.99) / steady.p(0.99):.1f} times that before",
        f"another worker was wanted {wanted} after the burst began, and answered {ready} after it",
        f"one was left {alone} after the burst ended (the delay is {DOWN_DELAY_S:g} s)",
        f"while the load was steady, the number wanted changed {changes(steady.seen)} times",
        f"first call after zero: median {quantile(waits, 0.5):.2f} s, longest {waits[-1]:.2f} s",
        f"of {len(first)} first calls {failed} failed",
    )
    return "\n".join([*lines, "", *(f"* {one}" for one in findings), ""])


def changes(seen: Sequence[Seen]) -> int:
    """Count how often the wanted number changed."""
    return sum(one.wanted != other.wanted for one, other in pairwise(seen))


def _text(after_s: float | None) -> str:
    return "never" if after_s is None else f"{after_s:.1f} s"


def main() -> int:
    """Measure, print, write."""
    parser = command_parser("benchmarks.scaling", __doc__)
    parser.add_argument("--seconds", type=positive, default=20.0, help="of each stage")
    parser.add_argument("--first-calls", type=count, default=5)
    add_results(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scaling-") as scratch:
        folder = Path(scratch)
        write_model(folder / "models", scaled_model())
        request = Request(model="heavy", inputs={"x": rows_of()})
        try:
            require_tools()
            with running_instance(folder / "models") as instance:
                bench = Bench(instance, request)
                first = measure(bench, options, folder)
        except (InstanceError, LoadError) as error:
            print(error, file=sys.stderr)
            return 1
    facts = {
        "stages": [
            {
                "name": one.name,
                "rate_per_s": one.rate,
                "call_count": len(one.calls),
                "failed_count": one.failed_count,
                "p50_s": one.p(0.5),
                "p99_s": one.p(0.99),
                "workers": [[s.at_s - one.began_s, s.wanted, s.ready] for s in one.seen],
            }
            for one in bench.stages
        ],
        "first_calls": [[one.status, one.took_s] for one in first],
    }
    write(options.results, "scaling", page(bench.stages, first), facts)
    has_failed = any(one.failed_count for one in bench.stages)
    return 1 if has_failed or any(one.status != ANSWERED for one in first) else 0


if __name__ == "__main__":
    run_main(main)
