"""One command on a GPU node: is it fit, what do its engines give, and how much is left when served.

python -m benchmarks.gpu_node [--quick] [--require-cuda] [--rounds N] [--seconds S]
                              [--models mid large] [--batches 1 8 64] [--results DIR]

Checks the node (facts, `bascule doctor`, preflight of every model), then runs `mid` and `large`, as
ONNX and as TorchScript with the same weights, on the CPU and on CUDA, for each batch size: first
the engine alone in a loop, then served by `bascule serve`, with binary HTTP through the edge. What
cannot run here is listed with its reason. Writes a page, JSON and plots.

Exit status: 0 served is at least 95 % of bare at saturation wherever both ran; 1 it is not,
something broke, or CUDA was required and not judged; 2 the node could not be looked at; 3 nothing
could be judged. Bare and served use the same threads; the client shares the node's CPUs. Where GPUs
differ, let CUDA_VISIBLE_DEVICES name one.
"""

import argparse
import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.command import add_results, command_parser, count, positive, run_main
from benchmarks.gpu.cases import MAX_BATCH_ROWS, MODELS, QUICK, Case, Plan, cases_of
from benchmarks.gpu.folders import write_case
from benchmarks.gpu.measure import measure
from benchmarks.gpu.node import Node, NodeError, look, obstacle, preflight
from benchmarks.gpu.page import facts, page
from benchmarks.gpu.results import Row, Skipped, exit_status, rows_without
from benchmarks.report import machine_lines, write
from runtimes.errors import BasculeError

NAME: Final = "gpu_node"
RESULTS: Final = Path(__file__).parent / "results"
NOT_LOOKED_AT: Final = 2


def main() -> int:
    """Look, measure, write; return the exit status."""
    options = _options()
    plan = _plan(options)
    try:
        node = look()
        with tempfile.TemporaryDirectory(prefix="gpu-node-") as scratch:
            rows = list(run(plan, node, Path(scratch)))
    except (NodeError, BasculeError) as error:
        print(error, file=sys.stderr)
        return NOT_LOOKED_AT
    status = exit_status(rows, is_cuda_required=options.require_cuda)
    text = page(plan, node, rows, machine_lines())
    write(options.results, NAME, text, facts(plan, node, rows, status))
    print(_drawn(options.results, rows))
    return status


def run(plan: Plan, node: Node, scratch: Path) -> Iterator[Row]:
    """Yield a row for every case and batch size, measured or with a reason."""
    for case in cases_of(plan.models):
        yield from _rows(case, plan, node, scratch)


def _rows(case: Case, plan: Plan, node: Node, scratch: Path) -> list[Row]:
    reason = obstacle(case, node, ())
    if reason is None:
        repository = write_case(scratch, case)
        reason = obstacle(case, node, preflight(repository / case.model))
        if reason is None:
            return measure(case, repository, plan)
    print(f"  {case}: not run: {reason}", file=sys.stderr, flush=True)
    return rows_without(case, plan.batches, Skipped(reason))


def _drawn(folder: Path, rows: Sequence[Row]) -> str:
    if importlib.util.find_spec("matplotlib") is None:
        return "no plots: matplotlib is not installed: pip install 'bascule[bench]'"
    # By name, since what it imports need not be there.
    written = importlib.import_module("benchmarks.gpu.plots").draw(folder, NAME, rows)
    return f"plots: {', '.join(map(str, written)) or 'none, for want of figures'}"


def _options() -> argparse.Namespace:
    parser = command_parser("benchmarks.gpu_node", __doc__)
    parser.add_argument("--quick", action="store_true", help="mid, three batch sizes, 1 s each")
    parser.add_argument("--require-cuda", action="store_true", help="exit 1 where CUDA did not run")
    parser.add_argument("--rounds", type=count)
    parser.add_argument("--seconds", type=positive)
    parser.add_argument("--models", nargs="+", choices=MODELS)
    sizes = range(1, MAX_BATCH_ROWS + 1)
    parser.add_argument("--batches", nargs="+", type=int, choices=sizes, metavar="ROWS")
    add_results(parser)
    return parser.parse_args()


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else Plan()
    told = {
        "models": options.models and tuple(dict.fromkeys(options.models)),
        "batches": options.batches and tuple(sorted(set(options.batches))),
        "round_count": options.rounds,
        "load_s": options.seconds,
    }
    return replace(plan, **{name: value for name, value in told.items() if value})


if __name__ == "__main__":
    run_main(main)
