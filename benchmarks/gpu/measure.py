"""Measure one case: start an instance with its model, then the engine alone and served, in turns.

Each case has an instance of its own, so that one that breaks takes no other with it. The process of
the bare loop keeps its model loaded and waits while the edge is loaded, and the other way round.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.gpu.bare import READY
from benchmarks.gpu.cases import Case, Plan, connections_for, seconds_for
from benchmarks.gpu.folders import file_in, input_name, weights_of
from benchmarks.gpu.results import Failed, Measured, Round, Row, rows_without
from benchmarks.instance import Instance, InstanceError, running_instance, until
from benchmarks.load_tools import LoadError, http_load
from benchmarks.loads import Request
from benchmarks.models.weights import ROW_COLUMNS, dense_answer

LOAD_LIMIT_S: Final = 180.0
LOOK_S: Final = 0.2
ANSWER_LIMIT_S: Final = 30
"""Full queues of a slow model are no failure: their length is the load's own."""
ANSWER_TOLERANCE: Final = 1e-3


class MeasureError(Exception):
    """A part of the measurement broke; the message says which and how."""


class BareLoop:
    """The engine's process, while it runs.

    Args:
        process: It, with pipes.
        log: Where it writes errors.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def ask(self, rows: int, seconds: float) -> Mapping[str, float]:
        """Measure batches of so many rows.

        Raises:
            MeasureError: The process ended instead.
        """
        if self._process.stdin is None or self._process.poll() is not None:
            raise self._ended()
        self._process.stdin.write(f"{rows} {seconds}\n")
        self._process.stdin.flush()
        figures: Mapping[str, float] = json.loads(self._line())
        return figures

    def wait_until_ready(self) -> None:
        """Wait for the model to be loaded.

        Raises:
            MeasureError: It cannot be.
        """
        if self._line().strip() != READY:
            raise self._ended()

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise self._ended()
        return line

    def _ended(self) -> MeasureError:
        said = self._log.read_text().strip().splitlines()
        return MeasureError(f"the bare loop: {said[-1] if said else 'ended without a word'}")


def measure(case: Case, repository: Path, plan: Plan) -> list[Row]:
    """Measure a case at every batch size; one that breaks gives lines that say how."""
    try:
        with running_instance(repository, has_started=_is_live) as instance:
            return _measured(case, repository, plan, instance)
    except (InstanceError, LoadError, MeasureError, OSError) as error:
        return rows_without(case, plan.batches, Failed(_one_line(error)))


def _measured(case: Case, repository: Path, plan: Plan, instance: Instance) -> list[Row]:
    served = _ready_version(instance)["served"]
    if not str(served["device"]).startswith(case.device):
        raise MeasureError(f"asked for {case.device}, and was served on {served['device']}")
    _check_answer(case, instance)
    with _bare_loop(case, file_in(repository, case), served) as bare:
        found: dict[int, Measured | Failed] = {}
        for number in range(1, plan.round_count + 1):
            print(f"  {case}: round {number} of {plan.round_count}", file=sys.stderr, flush=True)
            for size in plan.batches:
                found[size] = with_round(
                    found.get(size, Measured(rounds=(), connections=connections_for(size))),
                    partial(_round, case, instance, bare, size, plan.load_s),
                )
    return [Row(case=case, batch_rows=size, found=found[size]) for size in plan.batches]


def with_round(found: Measured | Failed, measured: Callable[[], Round]) -> Measured | Failed:
    """Add a round to what was found of a batch size; once it broke it is left alone."""
    if isinstance(found, Failed):
        return found
    try:
        return replace(found, rounds=(*found.rounds, measured()))
    except (LoadError, MeasureError) as error:
        return Failed(_one_line(error))


def _round(case: Case, instance: Instance, bare: BareLoop, size: int, load_s: float) -> Round:
    alone = bare.ask(size, load_s)
    request = _request(case, size)
    with tempfile.TemporaryDirectory() as folder:
        script = request.write_for_wrk(Path(folder))
        seconds = seconds_for(load_s, alone["p50_s"])
        loaded = http_load(
            instance.http,
            request.path,
            script,
            connections_for(size),
            seconds,
            timeout_s=ANSWER_LIMIT_S,
        )
    if loaded.failures:
        raise MeasureError(f"requests failed: {loaded.failures}")
    return Round(
        bare_rows_per_s=alone["rows_per_s"],
        bare_run_p50_s=alone["p50_s"],
        served_rows_per_s=loaded.requests_per_s * size,
        served_p50_s=loaded.p50_s,
        served_p99_s=loaded.p99_s,
    )


def _request(case: Case, rows: int) -> Request:
    x = np.random.default_rng(rows).standard_normal((rows, ROW_COLUMNS), dtype=np.float32)
    return Request(model=case.model, inputs={input_name(case): x})


def _check_answer(case: Case, instance: Instance) -> None:
    """Ask once, and hold the answer against the weights: fast and wrong is no figure."""
    request = _request(case, 2)
    (x,) = request.inputs.values()
    tensor = {"name": input_name(case), "datatype": "FP32", "shape": x.shape, "data": x.tolist()}
    call = urllib.request.Request(
        f"http://{instance.http}{request.path}", data=json.dumps({"inputs": [tensor]}).encode()
    )
    with urllib.request.urlopen(call, timeout=LOAD_LIMIT_S) as reply:  # noqa: S310  HTTP, see above
        (output,) = json.load(reply)["outputs"]
    right = dense_answer(weights_of(case.model), x)
    error = np.abs(np.reshape(output["data"], right.shape) - right).max() / np.abs(right).max()
    if not error <= ANSWER_TOLERANCE:
        raise MeasureError(f"a wrong answer: off by {error:.2g} of the largest value")


def _ready_version(instance: Instance) -> Mapping[str, Any]:
    """Wait until the only version is ready; say why where it will not be."""

    def version() -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(iter(instance.status()["versions"]), {})
        return found

    until(
        lambda: version().get("state") in {"READY", "UNAVAILABLE"},
        LOAD_LIMIT_S,
        "model loaded",
        look_s=LOOK_S,
    )
    found = version()
    if found["state"] != "READY":
        raise MeasureError(f"the model was not loaded: {found['reason']}")
    return found


@contextmanager
def _bare_loop(case: Case, file: Path, served: Mapping[str, Any]) -> Iterator[BareLoop]:
    command = [sys.executable, "-m", "benchmarks.gpu.bare", str(file), f"--engine={case.engine}"]
    command += [f"--device={served['device']}", f"--threads={served['threads']}"]
    log = file.parents[3] / "bare.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            bare = BareLoop(process, log)
            bare.wait_until_ready()
            yield bare
        finally:
            process.kill()


def _is_live(http: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{http}/v2/health/live", timeout=2) as reply:
            return bool(reply.status == 200)  # noqa: PLR2004  HTTP's OK
    except OSError:
        return False


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
