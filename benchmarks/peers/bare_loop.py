"""The engine alone in a loop: the most that any server in front of it can give.

python -m benchmarks.peers.bare_loop MODEL_FILE --rows N --threads N --seconds S [--free SIZE …]

Prints one JSON line: runs a second, median and 99th percentile of a run in seconds.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import numpy as np
import onnxruntime as ort

WARM_UP_RUNS: Final = 20
FREE_SIZE: Final = 16
"""Of a free dimension other than the rows: tokens of a sentence, for example."""
DTYPES: Final = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


def open_session(file: Path, threads: int) -> Any:
    """Open a model in ONNX Runtime as Bascule does: on the CPU, with this many threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def feeds_for(session: Any, rows: int, free: Sequence[int] = ()) -> dict[str, Any]:
    """Make inputs of ones; `free` are the sizes of an input's free dimensions, in order."""
    feeds = {}
    for tensor in session.get_inputs():
        sizes = chain(free, repeat(FREE_SIZE))
        dims = [size if isinstance(size, int) else next(sizes) for size in tensor.shape[1:]]
        feeds[tensor.name] = np.ones([rows, *dims], DTYPES[tensor.type])
    return feeds


def loop(run: Callable[[], object], seconds: float) -> dict[str, float]:
    """Run it over and over, warm; times of single runs include reading the clock."""
    times_s = []
    started_s = now_s = time.perf_counter()
    while now_s - started_s < seconds:
        run()
        before_s, now_s = now_s, time.perf_counter()
        times_s.append(now_s - before_s)
    cuts = quantiles(times_s, n=100)
    return {
        "runs_per_s": len(times_s) / (now_s - started_s),
        "p50_s": cuts[49],
        "p99_s": cuts[98],
    }


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--free", type=int, nargs="+", default=[])
    options = parser.parse_args()
    session = open_session(options.file, options.threads)
    run = partial(session.run, None, feeds_for(session, options.rows, options.free))
    for _ in range(WARM_UP_RUNS):
        run()
    print(json.dumps(loop(run, options.seconds)))


if __name__ == "__main__":
    main()
