"""Bascule beside everything else that serves the model `tiny`: one run, one report.

python -m benchmarks.compare [--rounds N] [--seconds S] [--only SYSTEM …] [--resume]
    [--open-rate CALLS] [--reference-script COMMAND] [--results DIR]

Rounds are outermost: each starts every system afresh, one after the other, and loads it with wrk
(HTTP, its fastest wire), h2load (gRPC) and an open loop (Poisson arrivals; latencies count from the
moment at which a call was to be sent). Peers must be installed before (`python -m
benchmarks.peers.install`); one that is not, does not start, or answers wrongly is a line of the
report. Writes compare.md, .json and .svg, and keeps every sample in compare.samples.jsonl, with
which `--resume` goes on. `--reference-script` adds a system of your own: a command that prints
`ready`, serves the `tiny` of {repository} over HTTP at port {base} and over gRPC at {base} + 1, may
write to {folder}, and ends at SIGTERM. Exits 1 when a request to Bascule failed.
"""

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.command import add_results, command_parser, count, positive, run_main
from benchmarks.compare.loads import Loads
from benchmarks.compare.page import budget, links, page
from benchmarks.compare.plots import draw
from benchmarks.compare.required import EDGE, judge
from benchmarks.compare.rounds import BARE, Run, SamplesError, own_run
from benchmarks.compare.systems import Place, System, UnknownSystemError, all_systems, chosen
from benchmarks.load_tools import LoadError, require_tools
from benchmarks.loads import Request
from benchmarks.models.layout import write_model
from benchmarks.models.small import tiny_graph
from benchmarks.peers.bare_loop import open_session
from benchmarks.report import as_facts, rows, write

NAME: Final = "compare"
OURS: Final = frozenset({EDGE, "worker", BARE})


def main() -> int:
    """Measure, print, write."""
    options = _parser().parse_args()
    kept = options.results / f"{NAME}.samples.jsonl"
    try:
        systems = chosen(all_systems(options.reference_script), options.only)
        require_tools()
        with own_run(kept, is_resumed=options.resume) as run:
            _measure(run, systems, options)
    except (LoadError, UnknownSystemError, SamplesError) as error:
        print(error, file=sys.stderr)
        return 1
    failed = {one.system for one in run.samples if one.measured.failures}
    missing = {problem.system for problem in run.problems}
    return 1 if OURS & (failed | missing) else 0


def _measure(run: Run, systems: list[System], options: argparse.Namespace) -> None:
    loads = Loads(seconds=options.seconds, open_rate=options.open_rate)
    with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
        place = _place(Path(scratch))
        for number in range(1, options.rounds + 1):
            run.measure(number, systems, loads, place)
            _report(run, systems, options, number)


def _place(folder: Path) -> Place:
    repository = folder / "models"
    write_model(repository, tiny_graph().folder("tiny", 64))
    x = np.linspace(-1, 1, 16, dtype=np.float32)[None]
    session = open_session(repository / "tiny" / "1" / "model.onnx", threads=1)
    return Place(
        repository=repository,
        folder=folder,
        request=Request(model="tiny", inputs={"x": x}),
        answer=session.run(None, {"x": x})[0],
    )


def _report(run: Run, systems: list[System], options: argparse.Namespace, done: int) -> None:
    table = rows(run.samples)
    found = judge(run.samples)
    budgets = budget(run.samples)
    title = f"The edge beside others: median of {done} rounds of {options.seconds:g} s a load"
    facts = {
        "required": [
            {**asdict(one), "ratio": one.ratio, "reached": one.is_reached} for one in found
        ],
        "loads": as_facts(table),
        "budget_us": budgets,
        "problems": [asdict(one) for one in run.problems],
    }
    text = page(title, systems, found, table, budgets, run.problems)
    text += links(options.results)
    write(options.results, NAME, text, facts)
    draw(options.results / f"{NAME}.svg", table)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("benchmarks.compare", __doc__)
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--seconds", type=positive, default=2.0, help="of each load")
    parser.add_argument("--open-rate", type=float, default=100.0, help="0: no open loop")
    parser.add_argument("--only", nargs="+", default=(), metavar="SYSTEM", help="by name")
    parser.add_argument("--resume", action="store_true", help="go on where a run was broken off")
    parser.add_argument("--reference-script", default="", metavar="COMMAND")
    add_results(parser)
    return parser


if __name__ == "__main__":
    run_main(main)
