"""More calls than a server can answer: what is answered in time, and how the rest is refused.

    python -m benchmarks.overload [--seconds 60] [--shares 0.5 1 1.5] [--results DIR]

Open loop: calls are sent at the moments of a Poisson process, whether earlier ones were answered or
not, and a latency counts from the moment at which the call was to be sent. The rates are shares of
the capacity that a closed loop found first. `heavy` (256 → 256 numbers, six wide layers) costs the
engine so much that the client beside it costs little. A call may wait for `BOUND_S` in the queue
(`default_timeout_microseconds`), and the server refuses at once what cannot begin by then: so an
answer is good if it came within twice that. Exits 1 when a call failed otherwise than by a refusal.

What was recorded last: `benchmarks/results/overload.md`.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.command import add_results, command_parser, positive, run_main
from benchmarks.instance import Instance, InstanceError, running_instance
from benchmarks.load_tools import LoadError, http_load, require_tools
from benchmarks.loads import Request
from benchmarks.models.graphs import Graph, Port, node
from benchmarks.models.layout import Config, ModelFolder, Tensor, write_model
from benchmarks.report import machine_lines, write
from runtimes.contract import Array
from serving.cli.load.open_loop import ANSWERED, Call
from serving.cli.load.summary import quantile

BOUND_S: Final = 0.25
"""Longest wait in the queue."""
WIDTH: Final = 256
HIDDEN: Final = 2_048
LAYERS: Final = 6
ROWS: Final = 4
"""Of a call."""
CAPACITY_CONNECTIONS: Final = 16
REFUSED: Final = 503
QUEUE: Final = (
    "dynamic_batching { default_queue_policy { timeout_action: REJECT "
    f"default_timeout_microseconds: {int(BOUND_S * 1e6)} }} }}\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One rate of arrivals."""

    share: float
    """Of the capacity."""
    rate: float
    seconds: float
    calls: Sequence[Call]
    memory_bytes: tuple[int, int]
    """Of all processes of the instance, before and after."""

    def good_per_s(self) -> float:
        """Answers in time, a second."""
        good = [one for one in self.calls if one.status == ANSWERED and one.took_s <= 2 * BOUND_S]
        return len(good) / self.seconds

    def times_s(self, status: int) -> list[float]:
        """Return how long the calls of one fate took, in order."""
        return sorted(one.took_s for one in self.calls if one.status == status)

    def faults(self) -> int:
        """Calls that were neither answered nor refused with the time to come back."""
        return sum(
            not (one.status == ANSWERED or (one.status == REFUSED and one.has_retry_after))
            for one in self.calls
        )


def rows_of() -> Array:
    """The rows of a call of `heavy`."""
    return np.random.default_rng(5).standard_normal((ROWS, WIDTH)).astype(np.float32)


def heavy() -> ModelFolder:
    """A model whose calls cost milliseconds."""
    rng = np.random.default_rng(3)
    sizes = [WIDTH, *[HIDDEN] * (LAYERS - 1), WIDTH]
    nodes, weights, last = [], {}, "x"
    for at, (rows, columns) in enumerate(pairwise(sizes)):
        weights[f"w{at}"] = (rng.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)
        name = "y" if at == LAYERS - 1 else f"h{at}"
        nodes.append(node("MatMul", [last, f"w{at}"], [name]))
        last = name
    graph = Graph(
        nodes=nodes,
        inputs=[Port("x", "FP32", ("N", WIDTH))],
        outputs=[Port("y", "FP32", ("N", WIDTH))],
        weights=weights,
    )
    tensors = [Tensor(name=name, datatype="FP32", dims=(WIDTH,)) for name in ("x", "y")]
    config = Config(
        backend="onnxruntime",
        max_batch_rows=64,
        inputs=(tensors[0],),
        outputs=(tensors[1],),
        extra=QUEUE,
    )
    return ModelFolder(name="heavy", config=config, files={"1/model.onnx": graph.model_bytes()})


def stages(instance: Instance, options: argparse.Namespace, folder: Path) -> list[Stage]:
    """Find the capacity, then send at shares of it."""
    request = Request(model="heavy", inputs={"x": rows_of()})
    script = request.write_for_wrk(folder)
    found = http_load(instance.http, request.path, script, CAPACITY_CONNECTIONS, options.capacity_s)
    if found.failures:  # wrk counts refusals, too, which are quick
        raise LoadError(f"the capacity is not known, for calls of it failed: {found.failures}")
    done = []
    for at, share in enumerate(options.shares):
        rate = share * found.requests_per_s
        print(f"{share:.0%} of {found.requests_per_s:.0f} calls/s", flush=True)
        before = instance.memory_bytes()
        loop = request.open_loop(instance.http, seed=at)
        calls = asyncio.run(loop.run(rate, options.seconds))
        done.append(
            Stage(
                share=share,
                rate=rate,
                seconds=options.seconds,
                calls=calls,
                memory_bytes=(before, instance.memory_bytes()),
            )
        )
        gc.freeze()  # earlier calls are not looked through again: the client would be late
    return done


def page(found: Sequence[Stage]) -> str:
    """Return the report as Markdown."""
    lines = [
        f"# More calls than can be answered, each may wait {BOUND_S * 1e3:.0f} ms",
        "",
        *machine_lines(),
        "",
        (
            "| of capacity | sent/s | answered in time/s | of capacity | p50 ms | p99 ms | refused "
            "| p50 of refusals ms | p99 of refusals ms | failed | memory MiB |"
        ),
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for one in found:
        answered, refused = one.times_s(ANSWERED), one.times_s(REFUSED)
        capacity = one.rate / one.share
        before, after = (size / 2**20 for size in one.memory_bytes)
        lines.append(
            f"| {one.share:.2f} | {one.rate:.0f} | {one.good_per_s():.0f} | "
            f"{one.good_per_s() / capacity:.2f} | {quantile(answered, 0.5) * 1e3:.0f} | "
            f"{quantile(answered, 0.99) * 1e3:.0f} | {len(refused) / max(1, len(one.calls)):.1%} | "
            f"{quantile(refused, 0.5) * 1e3:.1f} | {quantile(refused, 0.99) * 1e3:.1f} | "
            f"{one.faults()} | {before:.0f} → {after:.0f} |"
        )
    return "\n".join([*lines, ""])


def main() -> int:
    """Measure, print, write."""
    parser = command_parser("benchmarks.overload", __doc__)
    parser.add_argument("--seconds", type=positive, default=60.0, help="of each rate")
    parser.add_argument("--capacity-s", type=positive, default=10.0, help="of the closed loop")
    parser.add_argument("--shares", type=positive, nargs="+", default=[0.5, 1.0, 1.5])
    add_results(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overload-") as scratch:
        folder = Path(scratch)
        write_model(folder / "models", heavy())
        try:
            require_tools()
            with running_instance(folder / "models") as instance:
                found = stages(instance, options, folder)
        except (InstanceError, LoadError) as error:
            print(error, file=sys.stderr)
            return 1
    facts: list[object] = [
        {
            "share": one.share,
            "rate_per_s": one.rate,
            "good_per_s": one.good_per_s(),
            "answered_p99_s": quantile(one.times_s(ANSWERED), 0.99),
            "refused_count": len(one.times_s(REFUSED)),
            "refused_p50_s": quantile(one.times_s(REFUSED), 0.5),
            "refused_p99_s": quantile(one.times_s(REFUSED), 0.99),
            "call_count": len(one.calls),
            "failed_count": one.faults(),
            "memory_bytes": list(one.memory_bytes),
        }
        for one in found
    ]
    write(options.results, "overload", page(found), facts)
    return 1 if any(one.faults() for one in found) else 0


if __name__ == "__main__":
    run_main(main)
