"""What watching costs those who call: drift, a data contract and the prediction log, on and off.

python -m benchmarks.monitor_cost [--rounds N] [--seconds S] [--connections N …] [--results DIR]

`tiny` (16 → 4 numbers) and `magika` (a real one: 2,048 bytes → shares of 214 kinds of files), each
four times in one instance, over HTTP with binary tensors through the edge; rounds are outermost.
`off` watches nothing; `contract` checks each input's range and each output; `drift` watches rows,
inputs and outputs, by a reference, 1,000 a second at most; `all` does both, names every prediction
and logs one in a hundred. The calls' rows are drawn as the references' are, 256 of them in turn.

What was recorded last: `benchmarks/results/monitor_cost.md`.
"""

import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.command import run_main
from benchmarks.compare.processes import cpu_s, spent_s
from benchmarks.instance import Instance
from benchmarks.load_tools import http_load
from benchmarks.loads import Request
from benchmarks.models.__main__ import DEFAULT_CACHE
from benchmarks.models.layout import ModelFolder
from benchmarks.models.real import ONNX_FILE, REAL_MODELS
from benchmarks.models.small import small_models
from benchmarks.models.wheels import WheelCache
from benchmarks.peers.bare_loop import open_session
from benchmarks.report import Sample
from benchmarks.side_by_side import Comparison, compare
from runtimes.threads import available_cpus
from serving.monitor.drift.block_sums import BLOCK_ROWS
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.storage import from_bytes, to_bytes
from serving.monitor.drift.stream import KEPT_RECORDS, RunningTotal
from serving.worker.drift.ring import RowRing, Slot

Rows = npt.NDArray[Any]
OFF: Final = "off"
SYSTEMS: Final = (OFF, "contract", "drift", "all")
INPUTS: Final = {"tiny": "x", "magika": "bytes"}
OUTPUTS: Final = {"tiny": "y", "magika": "target_label"}
MODELS: Final = tuple(INPUTS)
FEW_CONNECTIONS: Final = 4
REFERENCE_ROWS: Final = 2_000
ROWS_AT_ONCE: Final = 64
"""Are run for a reference."""
ASKED_ROWS: Final = 256
CONTRACTS: Final = {
    "tiny": "contract: 1\ninputs: {x: {min: -9, max: 9, on_violation: reject}}\n"
    "outputs: {y: {finite: true}}\n",
    "magika": "contract: 1\ninputs: {bytes: {min: 0, max: 256, on_violation: reject}}\n"
    "outputs: {target_label: {finite: true, min: 0, max: 1}}\n",
}
RATE: Final = 'parameters {{ key: "prediction_log_rate" value {{ string_value: "{rate}" }} }}\n'
# Another of the rows in each call.
IN_TURN: Final = """
local rows_file = assert(io.open("{rows}", "rb"))
local rows, size, at = rows_file:read("*a"), {size}, 0
local head = wrk.body:sub(1, {header})
request = function()
  at = (at + 1) % {count}
  return wrk.format(nil, nil, nil, head .. rows:sub(at * size + 1, (at + 1) * size))
end
"""


def main() -> int:
    """Measure, print, write."""
    for model in MODELS:
        print(f"{model}: {memory_bytes(model) / 2**20:.1f} MiB a version for watching drift")
    return compare(
        Comparison(
            name="monitor_cost",
            about="what watching costs",
            title="What watching costs",
            plain=OFF,
            models=_models,
            measured=_round,
            has_prediction_log=True,
        )
    )


def rows_of(model: str, count: int, seed: int) -> Rows:
    """Draw what a model is asked. Shape (rows, columns)."""
    rng = np.random.default_rng(seed)
    if model == "tiny":
        return rng.standard_normal((count, 16)).astype(np.float32)
    return rng.integers(0, 256, (count, 2048)).astype(np.int32)


def tensors_of(model: str, count: int, seed: int) -> list[Tensor]:
    """Draw what a model is asked, and what it answers: a reference watches both."""
    rows = rows_of(model, count, seed)
    name = OUTPUTS[model]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        file.write_bytes(_model(model).files[ONNX_FILE])
        session = open_session(file, available_cpus())
    answers = [
        session.run([name], {INPUTS[model]: rows[begin : begin + ROWS_AT_ONCE]})[0]
        for begin in range(0, count, ROWS_AT_ONCE)
    ]
    return [
        Tensor(name=INPUTS[model], role=Role.INPUT, values=rows),
        Tensor(name=name, role=Role.OUTPUT, values=np.concatenate(answers)),
    ]


@cache
def reference_of(model: str) -> bytes:
    """Learn a reference of a model's inputs and outputs."""
    tensors = tensors_of(model, REFERENCE_ROWS, 1)
    return to_bytes(learn_tensors(tensors, is_ordered=True, allowed=FalseAlarms(replicates=100)))


def memory_bytes(model: str) -> int:
    """Return what a worker keeps to watch a version: profile, tables, rows on their way, sums."""
    reference, tensors = reference_of(model), tensors_of(model, BLOCK_ROWS, 2)
    tracemalloc.start()
    profile = from_bytes(reference)
    kept = _watched(profile, tensors)
    found, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found if kept else 0


def _watched(profile: Profile, tensors: Sequence[Tensor]) -> tuple[object, ...]:
    encoder, total = profile.encoder, RunningTotal("epoch")
    ring = RowRing([Slot(dtype=one.values.dtype, count=one.values.shape[1]) for one in tensors])
    encoded = encoder.encode(profile.columns_of({one.name: one.values for one in tensors}))
    (block,) = encoder.blocks(encoded, profile.digest)
    for _ in range(KEPT_RECORDS):
        total.add(block, 0.0)
    return encoder, total, ring


def _round(number: int, instance: Instance, connections: int, seconds: float) -> Iterator[Sample]:
    with tempfile.TemporaryDirectory() as scratch:
        for model, system in product(MODELS, SYSTEMS):
            path, script = _asking(model, system, Path(scratch))
            # A call of the real one takes milliseconds: more would only wait for each other.
            count = connections if model == "tiny" else min(connections, FEW_CONNECTIONS)
            before = cpu_s(instance.processes())
            found = http_load(instance.http, path, script, count, seconds)
            yield Sample(
                system=system,
                load=f"{model}, {count} connections",
                round=number,
                measured=found,
                cpu_s=spent_s(before, cpu_s(instance.processes())),
            )


def _asking(model: str, system: str, folder: Path) -> tuple[str, Path]:
    """Return what is asked for, and the script that asks for it with one row after the other."""
    rows = rows_of(model, ASKED_ROWS, 3)
    file = folder / f"{model}.rows"
    file.write_bytes(rows.tobytes())
    request = Request(model=f"{model}_{system}", inputs={INPUTS[model]: rows[:1]})
    script = request.write_for_wrk(folder)
    _, header_bytes = request.http_body()
    row_bytes = rows[:1].nbytes
    with script.open("a") as written:
        written.write(
            IN_TURN.format(rows=file, size=row_bytes, header=header_bytes, count=len(rows))
        )
    return request.path, script


def _models() -> Iterator[ModelFolder]:
    for model, system in product(map(_model, MODELS), SYSTEMS):
        extra = RATE.format(rate="0.01" if system == "all" else "0")
        yield replace(
            model,
            name=f"{model.name}_{system}",
            config=replace(model.config, extra=model.config.extra + extra),
            files={**model.files, **_watching(model.name, system)},
        )


@cache
def _model(name: str) -> ModelFolder:
    if name == "tiny":
        return next(model for model in small_models() if model.name == name)
    real = REAL_MODELS[name]
    payload = real.make(WheelCache(DEFAULT_CACHE.expanduser()))
    # Without the labels: the file is the same, and so is the work.
    output = replace(real.config.outputs[0], label_file="")
    config = replace(real.config, outputs=(output,))
    return ModelFolder(name=name, config=config, files={ONNX_FILE: payload})


def _watching(model: str, system: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    if system in {"contract", "all"}:
        files["1/contract.yaml"] = CONTRACTS[model].encode()
    if system in {"drift", "all"}:
        files["1/reference.drift"] = reference_of(model)
    return files


if __name__ == "__main__":
    run_main(main)
