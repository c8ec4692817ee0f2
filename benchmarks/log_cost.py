"""What the prediction log costs those who call: no log, a tenth of the calls, all of them.

python -m benchmarks.log_cost [--rounds N] [--seconds S] [--connections N …] [--results DIR]

`tiny` (16 → 4 numbers) and `mid` (512 → 64 numbers, about 1 ms for 8 rows), each three times in one
instance that logs, over HTTP with binary tensors through the edge; rounds are outermost, so that
what is compared is measured side by side. `off` is a version whose configuration wants no log.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.edge_overhead import RESULTS
from benchmarks.instance import Instance, InstanceError, running_instance
from benchmarks.load_tools import LoadError, http_load, require_tools
from benchmarks.loads import Request
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.models.small import small_models
from benchmarks.report import Sample, as_facts, markdown, rows, write

OFF: Final = "off"
RATES: Final = {OFF: "0", "a tenth": "0.1", "all": "1"}
COLUMNS: Final = {"tiny": 16, "mid": 512}
RATE: Final = 'parameters {{ key: "prediction_log_rate" value {{ string_value: "{rate}" }} }}\n'


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="what the prediction log costs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="log-cost-") as scratch:
        folder = Path(scratch)
        for model in _models():
            write_model(folder / "models", model)
        try:
            require_tools()
            with running_instance(
                folder / "models", prediction_log=str(folder / "log")
            ) as instance:
                samples = [
                    sample
                    for number in range(1, options.rounds + 1)
                    for connections in options.connections
                    for sample in _round(number, instance, connections, options.seconds)
                ]
        except (InstanceError, LoadError) as error:
            print(error, file=sys.stderr)
            return 1
    table = rows(samples)
    title = f"What the log costs: median of {options.rounds} rounds of {options.seconds:.0f} s"
    write(options.results, "log_cost", markdown(title, table, OFF), as_facts(table))
    return 1 if any(row.failures for row in table) else 0


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
    sys.exit(main())
