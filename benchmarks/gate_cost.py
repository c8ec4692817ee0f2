"""What the gate before placement costs the controller: time and memory for each tiny model.

python -m benchmarks.gate_cost [--count 1500] [--folder DIR]

Writes the models into a repository, scans it, and judges every version as the controller does: once
cold (files are read), and once again with nothing new. Memory is what Python keeps of a gate's
verdicts, counted by tracemalloc; libraries that are loaded before do not count.

Recorded on 2026-11-27, 2 CPUs of an AMD EPYC beside busy neighbours, 1,500 models: four runs took
0.80 to 0.84 ms each, and 5.5 to 7.1 µs when nothing was new; two of them counted 0.4 kB kept.
"""

import argparse
import gc
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import run_main
from benchmarks.models.layout import write_model
from benchmarks.models.many import many_models
from runtimes.profile import SHIPPED
from serving.registry.bundles.dependencies import Policy
from serving.registry.preflight.node_facts import measure_node
from serving.registry.repository import Repository
from serving.registry.version import VersionSpec
from serving.rollout.gate import Gate
from serving.rollout.nodes import KnownNodes
from serving.rollout.static_checks import StaticChecks


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What was measured, for all models together."""

    count: int
    refused_count: int
    cold_s: float
    warm_s: float
    kept_bytes: int

    def text(self) -> str:
        """Return it for people."""
        each_ms = self.cold_s / self.count * 1e3
        again_us = self.warm_s / self.count * 1e6
        return (
            f"{self.count} models, {self.refused_count} refused: {each_ms:.2f} ms and "
            f"{self.kept_bytes / self.count / 1e3:.1f} kB each; {again_us:.1f} µs each again"
        )


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_cost")
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--folder", type=Path, help="where the models are written; default: /tmp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(measure(Path(folder), options.count).text())
    return 0


def measure(folder: Path, count: int) -> Cost:
    """Judge that many models below a folder."""
    nodes = KnownNodes(SHIPPED)
    nodes.hear({"here": measure_node()})
    specs = versions(folder, count)
    judge_all(_gate(nodes), specs[:1])  # what is imported and read for the first one
    gate = _gate(nodes)
    begin_s = time.perf_counter()
    refused_count = judge_all(gate, specs)
    cold_s = time.perf_counter() - begin_s
    begin_s = time.perf_counter()
    judge_all(gate, specs)
    warm_s = time.perf_counter() - begin_s
    return Cost(
        count=count,
        refused_count=refused_count,
        cold_s=cold_s,
        warm_s=warm_s,
        kept_bytes=_kept_bytes(nodes, specs),
    )


def _gate(nodes: KnownNodes) -> Gate:
    return Gate(nodes, StaticChecks(SHIPPED, Policy.WARN))


def _kept_bytes(nodes: KnownNodes, specs: Sequence[VersionSpec]) -> int:
    gate = _gate(nodes)
    tracemalloc.start()
    judge_all(gate, specs)
    gc.collect()
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept_bytes


def versions(repository: Path, count: int) -> tuple[VersionSpec, ...]:
    """Write a repository of tiny models, and scan it."""
    for model in many_models(count):
        write_model(repository, model)
    scan = Repository(repository, gpu=False).scan()
    return tuple(spec for model in scan.models.values() for spec in model.versions)


def judge_all(gate: Gate, specs: Sequence[VersionSpec]) -> int:
    """Judge every version; return how many were refused."""
    return sum(bool(gate.judge(spec).refusal) for spec in specs)


if __name__ == "__main__":
    run_main(main)
