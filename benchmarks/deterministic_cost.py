"""What deterministic mode costs: median seconds of a run with it and without, model by model.

python -m benchmarks.deterministic_cost BUNDLE … [--threads N] [--runs N]

A bundle needs golden samples; its largest one is run. Without the mode the engine has N threads,
with it one: that is what the mode means. On one thread both lines of a model show the algorithms.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.command import run_main
from runtimes.contract import Array
from serving.registry.bundles.bundle import read_bundle
from serving.registry.bundles.bundle_model import BundleModel, model_of
from serving.registry.bundles.golden_samples import samples_of

WARM_RUNS: Final = 3


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deterministic_cost")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    print(f"| model | ms, {options.threads} threads | ms, 1 thread | ms, deterministic | cost |")
    print("|---|---|---|---|---|")
    for folder in options.bundles:
        print(row(folder, options.threads, options.runs), flush=True)
    return 0


def row(folder: Path, threads: int, runs: int) -> str:
    """Return the line of one bundle."""
    bundle = read_bundle(folder)
    samples = samples_of(folder, bundle.manifest)
    if not samples:
        return f"| {bundle.manifest.name} | no golden samples | | | |"
    needs = bundle.manifest.requirements
    plain, strict = (
        model_of(
            folder,
            bundle.manifest.model_copy(
                update={"requirements": needs.model_copy(update={"deterministic": chosen})}
            ),
        )
        for chosen in (False, True)
    )
    feeds = samples[-1].inputs
    several_s = median_s(plain, threads, feeds, runs)
    one_s = median_s(plain, 1, feeds, runs)
    strict_s = median_s(strict, 1, feeds, runs)
    times = " | ".join(f"{value * 1000:.2f}" for value in (several_s, one_s, strict_s))
    return f"| {bundle.manifest.name} | {times} | {strict_s / several_s:.2f} times |"


def median_s(model: BundleModel, threads: int, feeds: Sequence[Array | None], runs: int) -> float:
    """Return the median seconds of a run."""
    taken_s = []
    with closing(model.load(threads)) as loaded:
        for _ in range(WARM_RUNS + runs):
            begin_s = time.perf_counter()
            loaded.run(feeds)
            taken_s.append(time.perf_counter() - begin_s)
    return median(taken_s[WARM_RUNS:])


if __name__ == "__main__":
    run_main(main)
