"""1 to 4,096 rows in one request: its time served, beside that of the engine alone."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.growth.loading import Load, loaded
from benchmarks.growth.point import Point
from benchmarks.instance import Instance, running_instance
from benchmarks.loads import Request
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.models.small import dense_graph
from benchmarks.models.weights import ROW_COLUMNS, mid_weights
from benchmarks.peers.bare_loop import loop, open_session

MODEL: Final = "mid"
SERVED: Final = "served, one connection"
BARE: Final = "the engine alone"
TIMEOUT_S: Final = 60
LEAST_S: Final = 1.0


def measure(sizes: Sequence[int], rounds: int, seconds: float, *, threads: int) -> Iterator[Point]:
    """Ask with so many rows, and run the engine on as many, in turns."""
    with tempfile.TemporaryDirectory(prefix="growth-") as scratch:
        folder = Path(scratch)
        written = write_model(folder / "models", _model(max(sizes)))
        session = open_session(written / "1" / "model.onnx", threads)
        with running_instance(folder / "models") as instance:
            for rows in [*sizes] * rounds:
                yield _bare(session, rows, seconds)
                yield _served(instance, folder, rows, seconds)


def _model(max_rows: int) -> ModelFolder:
    return dense_graph(mid_weights()).folder(MODEL, max_rows)


def _rows(rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(rows).standard_normal((rows, ROW_COLUMNS), dtype=np.float32)


def _bare(session: object, rows: int, seconds: float) -> Point:
    feed = {"x": _rows(rows)}
    run = session.run  # type: ignore[attr-defined]  # ONNX Runtime ships no types
    run(None, feed)
    found = loop(lambda: run(None, feed), max(LEAST_S, seconds))
    return Point(
        series=BARE,
        size=rows,
        per_s=found["runs_per_s"],
        p50_s=found["p50_s"],
        p99_s=found["p99_s"],
    )


def _served(instance: Instance, folder: Path, rows: int, seconds: float) -> Point:
    request = Request(model=MODEL, inputs={"x": _rows(rows)})
    load = Load(
        path=request.path,
        script=request.write_for_wrk(folder),
        connections=1,
        seconds=seconds,
        timeout_s=TIMEOUT_S,
    )
    return loaded(instance, load, series=SERVED, size=rows)
