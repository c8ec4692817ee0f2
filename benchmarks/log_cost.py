"""What the prediction log costs those who call: none, a hundredth, a tenth of the calls, all.

python -m benchmarks.log_cost [--rounds N] [--seconds S] [--connections N …] [--results DIR]

`tiny` (16 → 4 numbers) and `mid` (512 → 64 numbers, about 1 ms for 8 rows), each four times in one
instance that logs, over HTTP with binary tensors through the edge; rounds are outermost, so that
what is compared is measured side by side. `off` is a version whose configuration wants no log.

Recorded on 2026-11-27, 2 cores that others kept busy (load average 33), `tiny`, 32 connections,
median of four rounds of 2 s, times `off` (2,724 calls/s): a hundredth 0.86, a tenth 0.87, all 0.70.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
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

OFF: Final = "off"
RATES: Final = {OFF: "0", "a hundredth": "0.01", "a tenth": "0.1", "all": "1"}
COLUMNS: Final = {"tiny": 16, "mid": 512}
RATE: Final = 'parameters {{ key: "prediction_log_rate" value {{ string_value: "{rate}" }} }}\n'


def main() -> int:
    """Measure, print, write."""
    return compare(
        Comparison(
            name="log_cost",
            about="what the prediction log costs",
            title="What the log costs",
            plain=OFF,
            models=_models,
            measured=_round,
            has_prediction_log=True,
        )
    )


def _round(number: int, instance: Instance, connections: int, seconds: float) -> Iterator[Sample]:
    with tempfile.TemporaryDirectory() as scratch:
        for model, columns in COLUMNS.items():
            for system in RATES:
                request = Request(
                    model=_name(model, system), inputs={"x": np.ones((1, columns), np.float32)}
                )
                script = request.write_for_wrk(Path(scratch))
                found = http_load(instance.http, request.path, script, connections, seconds)
                yield Sample(
                    system=system,
                    load=f"{model}, {connections} connections",
                    round=number,
                    measured=found,
                )


def _models() -> Iterator[ModelFolder]:
    for model in small_models():
        if model.name in COLUMNS:
            for system, rate in RATES.items():
                config = replace(model.config, extra=RATE.format(rate=rate))
                yield replace(model, name=_name(model.name, system), config=config)


def _name(model: str, system: str) -> str:
    return f"{model}_{system.replace(' ', '_')}"


if __name__ == "__main__":
    run_main(main)
