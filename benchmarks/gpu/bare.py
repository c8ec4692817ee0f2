"""The engine alone in a loop, on the CPU or a CUDA device, in a process that is asked for figures.

python -m benchmarks.gpu.bare FILE --engine onnx|torchscript --device cpu|cuda:0 --threads N

A line on stdin is rows and seconds; the answer is a line of JSON. Rows come from host memory and
answers go back there, as a caller's do; on CUDA that is a copy each way for every run. Precision is
the server's: FP32, no TF32. It says `ready` once the model is loaded.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.gpu.cases import seconds_for
from benchmarks.models.weights import ROW_COLUMNS
from benchmarks.peers.bare_loop import loop, open_session
from runtimes.contract import LoadRequest
from runtimes.devices import device
from runtimes.errors import BasculeError

READY: Final = "ready"
MOST_WARM_UP_RUNS: Final = 20
LEAST_WARM_UP_RUNS: Final = 3
WARM_UP_S: Final = 1.0

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Array], object]


def main() -> int:
    """Load, then answer lines until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    load = LoadRequest(file=options.file, device=device(options.device), threads=options.threads)
    try:
        run = onnx_run(load) if options.engine == "onnx" else torch_run(load)
    except BasculeError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(READY, flush=True)
    for line in sys.stdin:
        rows, seconds = line.split()
        print(json.dumps(figures(run, int(rows), float(seconds))), flush=True)
    return 0


def figures(run: Run, rows: int, seconds: float) -> dict[str, float]:
    """Measure batches of so many rows."""
    x = np.random.default_rng(rows).standard_normal((rows, ROW_COLUMNS), dtype=np.float32)
    run_s = warm_up(lambda: run(x))
    found = loop(lambda: run(x), seconds_for(seconds, run_s))
    return {**found, "rows_per_s": found["runs_per_s"] * rows}


def warm_up(run: Callable[[], object]) -> float:
    """Run until nothing is done for the first time; return how long the last run took."""
    end_s = time.perf_counter() + WARM_UP_S
    run_s = 0.0
    for count in range(MOST_WARM_UP_RUNS):
        started_s = time.perf_counter()
        if started_s > end_s and count >= LEAST_WARM_UP_RUNS:
            break
        run()
        run_s = time.perf_counter() - started_s
    return run_s


def onnx_run(load: LoadRequest) -> Run:
    """Open ONNX Runtime's session; on CUDA it is that or an error, never the CPU in silence."""
    if load.device.kind == "cpu":
        session = open_session(load.file, load.threads)
    else:
        from runtimes.onnxrt import open_session as open_on  # noqa: PLC0415  loads CUDA's libraries

        session = open_on(load)
    (name,) = (node.name for node in session.get_inputs())
    return lambda x: session.run(None, {name: x})


def torch_run(load: LoadRequest) -> Run:
    """Load a TorchScript module as the server does."""
    import torch  # noqa: PLC0415  a process has one engine

    from runtimes.torch_settings import apply_settings  # noqa: PLC0415  see above
    from runtimes.torchscript import check_device, read_module  # noqa: PLC0415  see above

    check_device(load.device)
    apply_settings(load)
    forward: Any = read_module(load.file, load.device).forward
    place = torch.device(str(load.device))

    def run(x: Array) -> object:
        with torch.inference_mode():
            return forward(torch.from_numpy(x).to(place)).cpu().numpy()

    return run


if __name__ == "__main__":
    sys.exit(main())
