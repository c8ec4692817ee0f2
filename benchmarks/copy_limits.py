"""What preflight, push and load of large models cost, against `sha256sum` and `cp` of their bytes.

python -m benchmarks.copy_limits REPOSITORY [--mb 500] [--folder DIR] [--runs 5]

REPOSITORY is what `python -m benchmarks.models fetch` wrote; its largest ONNX model is the one that
preflight checks. Every time is a median in a warm page cache and without the start of a process;
`push` ends when all is on stable storage, so its limit is `cp` with `sync`.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from benchmarks.command import run_main
from benchmarks.models.graphs import Graph, Port, node
from runtimes.node_probe import Engine, probe
from runtimes.preflight.check import check, has_errors
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.preflight.preflight_target import read_target
from serving.registry.preflight.subject import Surroundings
from serving.registry.store import Registry
from serving.worker.loading import load_parts
from serving.worker.own_environment import OwnEnvironment
from serving.worker.recorder import FlightRecorder

TABLES: Final = 8
ENGINES: Final[tuple[Engine, ...]] = ("onnx",)
COLUMNS: Final = 1024
TARGET_RATIO: Final = 1.5
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured operation and its limit."""

    what: str
    size_bytes: int
    taken_s: float
    limit_s: float
    limit: str

    def cells(self) -> str:
        """Return a row of the table."""
        ratio = self.taken_s / self.limit_s
        verdict = "yes" if ratio <= TARGET_RATIO else "no"
        return (
            f"| {self.what} | {self.size_bytes / MIB:.0f} | {self.taken_s:.3f} | {self.limit} | "
            f"{self.limit_s:.3f} | {ratio:.2f} | {verdict} |"
        )


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.copy_limits")
    parser.add_argument("repository", type=Path)
    parser.add_argument("--mb", type=int, default=500, help="MiB of weights of the made model")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bascule-limits-", dir=options.folder) as text:
        folder = Path(text)
        rows = [
            _preflight(options.repository, folder / "largest", options.runs),
            *_made(options.mb * MIB, folder / "made", options.runs),
        ]
    print("| what | MiB | s | limit | s | ratio | at most 1.5 |\n|---|---|---|---|---|---|---|")
    print("\n".join(row.cells() for row in rows))
    return int(any(row.taken_s / row.limit_s > TARGET_RATIO for row in rows))


def _preflight(repository: Path, folder: Path, runs: int) -> Row:
    """Check a bundle of the largest real model: every file hashed, the graph read."""
    file = max(repository.glob("*/*/*.onnx"), key=lambda item: item.stat().st_size)
    bundle = _packed(file, folder)
    around = Surroundings(node=probe(ENGINES))

    def run() -> None:
        if has_errors(check(read_target(bundle, around).subject)):
            raise SystemExit(f"preflight finds errors in {file}")

    size = file.stat().st_size
    limit_s = _hash_and_copy(bundle / "model.onnx", folder / "copy", runs, is_synced=False)
    taken_s = _median(run, runs)
    name = f"static preflight of {file.parts[-3]}"
    return Row(what=name, size_bytes=size, taken_s=taken_s, limit_s=limit_s, limit="sha256sum + cp")


def _made(size_bytes: int, folder: Path, runs: int) -> Iterator[Row]:
    """Push and load a model of embedding tables."""
    folder.mkdir()
    file = folder / "made.onnx"
    file.write_bytes(_tables(size_bytes))
    bundle = _packed(file, folder / "packed")
    size = file.stat().st_size
    stored = bundle / "model.onnx"
    copy = folder / "copy"
    plain_s = _hash_and_copy(stored, copy, runs, is_synced=False)
    synced_s = _hash_and_copy(stored, copy, runs, is_synced=True)
    plain, synced = "sha256sum + cp", "sha256sum + cp + sync"
    pushes = [_pushed(bundle, folder / "home") for _ in range(runs)]
    push_s = median(pushes)
    yield Row(what="push", size_bytes=size, taken_s=push_s, limit_s=synced_s, limit=synced)
    yield Row(what="push", size_bytes=size, taken_s=push_s, limit_s=plain_s, limit=plain)
    with Registry(folder / "home2") as registry:
        registry.push(bundle, "benchmark")
        spec = registry.picture().wanted[0]
    with FlightRecorder(None) as recorder:
        note = recorder.note(spec.key)
        own = OwnEnvironment("")

        def load() -> None:
            load_parts(spec, note, own).model.close()

        load_s = _median(load, runs)
    yield Row(what="load", size_bytes=size, taken_s=load_s, limit_s=plain_s, limit=plain)


def _pushed(bundle: Path, home: Path) -> float:
    """Push into a new registry and remove it; return the seconds of the push alone."""
    with Registry(home) as registry:
        begin_s = time.perf_counter()
        registry.push(bundle, "benchmark")
        taken_s = time.perf_counter() - begin_s
    shutil.rmtree(home)
    return taken_s


def _packed(file: Path, folder: Path) -> Path:
    folder.mkdir()
    order = PackOrder(
        model_file=file, name="m", version=1, created_utc=datetime(2026, 1, 1, tzinfo=UTC)
    )
    return pack_bundle(order, folder / "bundle").folder


def _tables(size_bytes: int) -> bytes:
    """Build a model that looks up a row in each of several tables and adds them."""
    rows = size_bytes // (TABLES * COLUMNS * 4)
    generator = np.random.default_rng(0)
    weights = {
        f"W{index}": generator.random((rows, COLUMNS), dtype=np.float32) for index in range(TABLES)
    }
    nodes = [node("Gather", [f"W{index}", "id"], [f"e{index}"]) for index in range(TABLES)]
    nodes.append(node("Sum", [f"e{index}" for index in range(TABLES)], ["y"]))
    return Graph(
        nodes=nodes,
        inputs=[Port("id", "INT64", ("N",))],
        outputs=[Port("y", "FP32", ("N", COLUMNS))],
        weights=weights,
    ).model_bytes()


def _hash_and_copy(file: Path, copy: Path, runs: int, *, is_synced: bool) -> float:
    """Return the median seconds of sha256sum and cp of a file; programs' starts are part of it."""
    commands = [["sha256sum", str(file)], ["cp", "--reflink=never", str(file), str(copy)]]
    if is_synced:
        commands.append(["sync", str(copy)])

    def run() -> None:
        for command in commands:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return _median(run, runs, lambda: copy.unlink(missing_ok=True))


def _median(run: Callable[[], None], runs: int, before: Callable[[], None] = lambda: None) -> float:
    run()  # once for the page cache and for imports
    taken_s: list[float] = []
    for _ in range(runs):
        before()
        with _timed(taken_s):
            run()
    return median(taken_s)


@contextmanager
def _timed(taken_s: list[float]) -> Iterator[None]:
    begin_s = time.perf_counter()
    yield
    taken_s.append(time.perf_counter() - begin_s)


if __name__ == "__main__":
    run_main(main)
