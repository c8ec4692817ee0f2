"""Whether cost grows linearly or better: models, idle connections, rows of a request.

    python -m benchmarks.growth [--only models idle batches] [--rounds N] [--seconds S]
                                [--models 1 100 1500] [--idle 1 1000 10000]
                                [--rows 1 4 16 64 256 1024 4096] [--results DIR]

Rounds are outermost. Models are tiny and in shared pools, an instance for each count, which is
started in each round and runs alone. Idle connections are HTTP, kept by a process of their own,
asked before and after the load; where open files allow fewer than asked for, as many as they do.
Rows go to `mid` over one connection; the engine alone has the threads of the server. Exits 1 when
something failed: a connection that was refused counts.
"""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

from benchmarks.command import add_results, command_parser, count, positive, run_main
from benchmarks.growth import batches, idle, models
from benchmarks.growth.page import page
from benchmarks.growth.point import Point, exponent, medians
from benchmarks.instance import InstanceError
from benchmarks.load_tools import LoadError, require_tools
from benchmarks.report import machine_lines, write
from runtimes.threads import available_cpus, threads_for
from serving.edge.haproxy_process import connection_limit

NAME: Final = "growth"


def main() -> int:
    """Measure, print, write."""
    options = _options()
    rounds, seconds = options.rounds, options.seconds
    threads = threads_for(available_cpus(), 1)
    limit = connection_limit()
    idle_counts = idle.fitting(options.idle, limit)
    parts: dict[str, tuple[str, Callable[[], Iterator[Point]]]] = {
        "models": ("models loaded", lambda: models.measure(options.models, rounds, seconds)),
        "idle": ("idle connections", lambda: idle.measure(idle_counts, rounds, seconds)),
        "batches": (
            "rows of a request",
            lambda: batches.measure(options.rows, rounds, seconds, threads=threads),
        ),
    }
    found = {}
    try:
        require_tools()
        for part in options.only:
            what, measured = parts[part]
            print(f"{what} …", flush=True)
            found[what] = medians(list(measured()))
    except (InstanceError, LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    facts = [
        {**asdict(point), "what": what, "exponent": exponent(points, point.series)}
        for what, points in found.items()
        for point in points
    ]
    machine = [*machine_lines(), f"* open files allow {limit:,} connections"]
    can_draw = importlib.util.find_spec("matplotlib") is not None
    text = page(found, machine, rounds, NAME if can_draw else "")
    write(options.results, NAME, text, facts)
    if not can_draw:
        print("no plots: matplotlib is not installed: pip install 'bascule[bench]'")
    else:  # by name, since what it imports need not be there
        importlib.import_module("benchmarks.growth.plots").draw(options.results, NAME, found)
    return 1 if any(point.failures for points in found.values() for point in points) else 0


def _options() -> argparse.Namespace:
    parser = command_parser("benchmarks.growth", __doc__)
    kinds = ["models", "idle", "batches"]
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--seconds", type=positive, default=5.0, help="of each load")
    parser.add_argument("--models", type=count, nargs="+", default=[1, 100, 1500])
    parser.add_argument("--idle", type=count, nargs="+", default=[1, 1000, 10_000])
    parser.add_argument("--rows", type=count, nargs="+", default=[1, 4, 16, 64, 256, 1024, 4096])
    add_results(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
