"""What watching rows for drift costs those who call: off, and on.

python -m benchmarks.drift_cost [--rounds N] [--seconds S] [--connections N …] [--results DIR]

`tiny` (16 → 4 numbers) and `mid` (512 → 64 numbers), each twice in one instance with a reference of
its inputs (`benchmarks/monitor_cost.py` has one of outputs, too), over HTTP with binary tensors
through the edge; every call has another row, drawn as the reference was; rounds are outermost, so
that what is compared is measured side by side.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.command import run_main
from benchmarks.instance import Instance
from benchmarks.load_tools import http_load
from benchmarks.loads import Request
from benchmarks.models.layout import ModelFolder
from benchmarks.models.small import small_models
from benchmarks.report import Sample
from benchmarks.side_by_side import Comparison, compare
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.storage import to_bytes

OFF: Final = "off"
SWITCHES: Final = {OFF: "off", "on": "on"}
COLUMNS: Final = {"tiny": 16, "mid": 512}
SWITCH: Final = 'parameters {{ key: "drift" value {{ string_value: "{word}" }} }}\n'
ROWS: Final = 2_000

# Another row in each call: uniform numbers from 0 to 1, as the reference has them.
NEW_ROWS: Final = """
math.randomseed(os.time())
local ffi = require("ffi")
local row = ffi.new("float[?]", {columns})
local head = wrk.body:sub(1, {header})
request = function()
  for place = 0, {columns} - 1 do row[place] = math.random() end
  return wrk.format(nil, nil, nil, head .. ffi.string(row, {columns} * 4))
end
"""


def main() -> int:
    """Measure, print, write."""
    return compare(
        Comparison(
            name="drift_cost",
            about="what watching for drift costs",
            title="What watching for drift costs",
            plain=OFF,
            models=_models,
            measured=_round,
        )
    )


def _round(number: int, instance: Instance, connections: int, seconds: float) -> Iterator[Sample]:
    systems = tuple(SWITCHES) if number % 2 else tuple(SWITCHES)[::-1]
    with tempfile.TemporaryDirectory() as scratch:
        for model, system in product(COLUMNS, systems):
            request, script = _asking(Path(scratch), model, system)
            yield Sample(
                system=system,
                load=f"{model}, {connections} connections",
                round=number,
                measured=http_load(instance.http, request.path, script, connections, seconds),
            )


def _asking(folder: Path, model: str, system: str) -> tuple[Request, Path]:
    """Write the script of a load; every call of it has another row."""
    columns = COLUMNS[model]
    one = np.ones((1, columns), np.float32)
    request = Request(model=f"{model}_{system}", inputs={"x": one})
    script = request.write_for_wrk(folder)
    _, header_bytes = request.http_body()
    with script.open("a") as file:
        file.write(NEW_ROWS.format(columns=columns, header=header_bytes))
    return request, script


def _models() -> Iterator[ModelFolder]:
    for model in small_models():
        if model.name in COLUMNS:
            reference = _reference(COLUMNS[model.name])
            for system, word in SWITCHES.items():
                config = replace(model.config, extra=SWITCH.format(word=word))
                files = {**model.files, "reference.drift": reference}
                yield replace(model, name=f"{model.name}_{system}", config=config, files=files)


def _reference(columns: int) -> bytes:
    rows = np.random.default_rng(1).random((ROWS, columns)).astype(np.float32)
    return to_bytes(
        learn_tensors([Tensor(name="x", role=Role.INPUT, values=rows)], is_ordered=True)
    )


if __name__ == "__main__":
    run_main(main)
