"""What the edge costs, and how that compares: the model `tiny` behind everything that can serve it.

python -m benchmarks.edge_overhead [--rounds N] [--seconds S] [--only SYSTEM …]
    [--connections N …] [--reference-script COMMAND] [--results DIR]

Rounds are outermost: each starts every system afresh, one after the other, and loads it with wrk
(HTTP, binary tensors) and h2load (gRPC). `--reference-script` adds a system of your own: a command
that prints `ready`, serves `tiny` over HTTP at port {base} and over gRPC at {base} + 1, and ends at
SIGTERM; {folder} and {repository} in it are replaced, too. Exits 1 when any request failed.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.instance import InstanceError
from benchmarks.load_tools import LoadError, Measured, grpc_load, http_load, require_tools
from benchmarks.loads import Request
from benchmarks.models.layout import write_model
from benchmarks.models.small import tiny_graph
from benchmarks.report import Sample, as_facts, markdown, rows, write
from benchmarks.systems import Endpoints, System, all_systems

BASELINE: Final = "edge"
RESULTS: Final = Path(__file__).parent / "results"
BARE: Final = "bare engine"
MULTIPLEXED: Final = (8, 4)
"""Connections, and streams on each: how gRPC clients share a channel. HTTP/1.1 has no streams."""


def main() -> int:
    """Measure, print, write."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        folder = Path(scratch)
        repository = folder / "models"
        write_model(repository, tiny_graph().folder("tiny", 64))
        request = Request(model="tiny", inputs={"x": np.ones((1, 16), np.float32)})
        systems = [
            system
            for system in all_systems(repository, shlex.split(options.reference_script))
            if not options.only or system.name in options.only
        ]
        try:
            require_tools()
            samples = [
                sample
                for number in range(1, options.rounds + 1)
                for sample in _round(number, systems, _Loads(request, folder, options))
            ]
        except (LoadError, InstanceError) as error:
            print(error, file=sys.stderr)
            return 1
    table = rows(samples)
    title = f"The edge's overhead: median of {options.rounds} rounds of {options.seconds:.0f} s"
    write(options.results, "edge_overhead", markdown(title, table, BASELINE), as_facts(table))
    return 1 if any(row.failures for row in table) else 0


class _Loads:
    """The loads that every system gets."""

    def __init__(self, request: Request, folder: Path, options: argparse.Namespace) -> None:
        self.path = request.path
        self.script = request.write_for_wrk(folder)
        self.body = request.write_for_h2load(folder)
        self.model_file = folder / "models" / "tiny" / "1" / "model.onnx"
        self.connections: Sequence[int] = options.connections
        self.seconds: float = options.seconds

    def of(self, at: Endpoints) -> Iterator[tuple[str, Measured]]:
        """Load one running system on each wire that it speaks."""
        for count in self.connections if at.http else ():
            yield (
                f"HTTP, {count} connections",
                http_load(at.http, self.path, self.script, count, self.seconds),
            )
        for count in self.connections if at.grpc else ():
            yield (
                f"gRPC, {count} connections",
                grpc_load(at.grpc, self.body, count, self.seconds, http1=at.grpc_over_http1),
            )
        if at.grpc and not at.grpc_over_http1:
            count, streams = MULTIPLEXED
            yield (
                f"gRPC, {count} connections, {streams} streams each",
                grpc_load(at.grpc, self.body, count, self.seconds, streams=streams),
            )

    def bare(self) -> Measured:
        """Run the engine alone, one row after the other."""
        module = "benchmarks.peers.bare_loop"
        done = subprocess.run(
            [sys.executable, "-m", module, self.model_file, f"--seconds={self.seconds}"],
            capture_output=True,
            text=True,
            check=True,
        )
        facts = json.loads(done.stdout)
        return Measured(
            requests_per_s=facts["runs_per_s"], p50_s=facts["p50_s"], p99_s=facts["p99_s"]
        )


def _round(number: int, systems: Sequence[System], loads: _Loads) -> Iterator[Sample]:
    yield Sample(system=BARE, load="no wire", round=number, measured=loads.bare())
    for system in systems:
        print(f"round {number}: {system.name}", flush=True)
        with system.start() as endpoints:
            for load, measured in loads.of(endpoints):
                shout = f"FAILED REQUESTS: {measured.failures}\n" if measured.failures else ""
                print(shout, end="", flush=True)
                yield Sample(system=system.name, load=load, round=number, measured=measured)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="what the edge costs, against other systems")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, nargs="+", default=(1, 32, 64))
    parser.add_argument("--only", nargs="+", default=(), help="names of systems")
    parser.add_argument("--reference-script", default="", metavar="COMMAND")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
