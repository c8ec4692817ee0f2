"""A real worker whose model runs until a test lets it: what is true meanwhile can be looked at.

    python -m tests.fakes.held_worker FLAGS    those of `python -m serving.worker`

A model that merely takes long has ended when the look comes too late. The one here has the tensors
of `models.slow`, returns its x, and takes the place of the echo runtime. Its file names the folder
of its permits: each run takes one away, and waits until there is one; while `open` is there, none
is needed.
"""

import itertools
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from runtimes import catalogue
from runtimes.contract import Array, LoadedModel, LoadRequest, TensorSpec
from runtimes.datatypes import Datatype
from serving.ids import VersionKey
from serving.registry.version import VersionSpec
from serving.worker.__main__ import main as work
from serving.worker.recorder import suspects
from tests.fakes.function_model import FunctionModel
from tests.fakes.worker_process import (
    RawClient,
    WorkerProcess,
    infer,
    running_worker,
    version,
    wait_until,
)

LOOK_S = 0.005
"""Also longer than what a worker runs on its loop."""
INPUTS = (
    TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 4)),
    TensorSpec(name="n", datatype=Datatype.INT64, shape=(1,)),
)
OUTPUTS = (TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 4)),)
KEY = VersionKey("slow", 1)


class HeldRuntime:
    """Makes models that run until they may end."""

    platform = "echo"
    backend = "echo"

    def load(self, request: LoadRequest) -> LoadedModel:
        """Make one; the file says where its permits are."""
        folder = Path(request.file.read_text())

        def compute(feeds: list[Array | None]) -> list[Array]:
            pause = threading.Event()
            pause.wait(LOOK_S)
            while not _may_end(folder):
                pause.wait(LOOK_S)
            (x, _) = feeds
            assert x is not None
            return [x]

        return FunctionModel(INPUTS, OUTPUTS, compute)


class Hold:
    """A worker's model `slow`, whose runs a test lets end."""

    def __init__(self, worker: WorkerProcess, folder: Path) -> None:
        """Prepare it; `host` hands it to the worker."""
        self._worker = worker
        self._folder = folder
        self._permits = folder / "permits"
        self._permits.mkdir()
        self._numbers = itertools.count()

    def host(self, *others: VersionSpec, **policy: Any) -> None:  # noqa: ANN401  fields of ServingPolicy
        """Have the worker load the model, and others beside it; from now on its runs are held."""
        spec = version(self._folder, KEY.model, str(self._permits).encode(), **policy)
        self.release()  # what is run while it loads
        self._worker.apply(replace(spec, format="echo"), *others)
        (self._permits / "open").unlink()

    def is_busy(self) -> bool:
        """Whether a run is held at this moment, by the flight recorder."""
        assert self._worker.process.poll() is None
        return suspects(self._folder / "recorder", [KEY]) != ()

    def occupy(self, client: RawClient, call: bytes = b"") -> None:
        """Send a call and wait until it runs."""
        client.send(call or held_call())
        wait_until(self.is_busy, "the model runs")

    def let_end(self) -> None:
        """Let one run end: the one that is held, or the next."""
        (self._permits / f"{next(self._numbers):06}").touch()

    def release(self) -> None:
        """Let all runs end."""
        (self._permits / "open").touch()


@contextmanager
def holding_worker(folder: Path, *flags: str) -> Iterator[tuple[WorkerProcess, Hold]]:
    """Start such a worker; it hosts nothing yet."""
    recorder = ("--recorder", str(folder / "recorder"))
    with running_worker(folder, *recorder, *flags, program="tests.fakes.held_worker") as worker:
        yield worker, Hold(worker, folder)


def held_call(**options: Any) -> bytes:  # noqa: ANN401  those of `infer`
    """Build a call of the model, of one row."""
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "x": np.ones((1, 4), "<f4"),
        "n": np.ones(1, np.int64),
    }
    return infer("/v2/models/slow/infer", tensors, **options)


def _may_end(permits: Path) -> bool:
    names = sorted(permit.name for permit in permits.iterdir())  # one look: it may come meanwhile
    if "open" in names:
        return True
    for name in names:
        (permits / name).unlink()
        return True
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """Be a worker."""
    held = {"echo": "tests.fakes.held_worker:HeldRuntime"}
    catalogue.RUNTIMES = MappingProxyType({**catalogue.RUNTIMES, **held})  # type: ignore[misc]
    return work(argv)


if __name__ == "__main__":
    sys.exit(main())
