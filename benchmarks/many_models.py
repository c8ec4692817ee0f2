"""1,500 tiny models in one folder: time to ready, memory, every answer, and what a change costs.

python -m benchmarks.many_models [--count N] [--changes N] [--mode standalone|ray] [--results DIR]

Every model is asked over HTTP and gRPC, and its answer compared with the one worked out here. Then
four clients ask one model without a pause while another is unloaded and loaded again: their slowest
request tells how long a change held others up. The same is measured without changes, for the floor
that clients and server on one machine have anyway. Exits 1 when a request failed or was wrong.
"""

import asyncio
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tritonclient.grpc.aio as triton_grpc
import tritonclient.http.aio as triton_http

from benchmarks.command import add_results, command_parser, count, run_main
from benchmarks.instance import Instance, InstanceError, running_instance
from benchmarks.ledger import Target, record
from benchmarks.models import many
from benchmarks.models.layout import write_model
from benchmarks.report import machine_lines, write
from serving.cli.load.ledger import Ledger

CLIENTS: Final = 8
WATCHERS: Final = 2  # on each wire
CALM_S: Final = 5.0
READY_LIMIT_S: Final = 60
MEMORY_LIMIT_MIB: Final = 3 * 1024
PAUSE_LIMIT_MS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a run found."""

    model_count: int
    ready_s: float
    memory_mib: float
    """Proportional set size of all processes: what they take together, shared pages once."""
    process_count: int
    right_answer_count: int
    wrong: tuple[str, ...]
    calm_slowest_ms: float
    change_slowest_ms: float
    change_count: int
    request_count: int
    failed: tuple[str, ...]


def main() -> int:
    """Measure, print, write."""
    parser = command_parser("benchmarks.many_models", __doc__)
    parser.add_argument("--count", type=count, default=1500)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--mode", choices=("standalone", "ray"), default="standalone")
    add_results(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="many-") as folder:
        for model in many.many_models(options.count):
            write_model(Path(folder) / "models", model)
        try:
            with running_instance(
                Path(folder) / "models",
                mode=options.mode,
                model_control_mode="explicit",
                load_model='["*"]',
            ) as instance:
                found = measure(instance, options.count, options.changes)
        except InstanceError as error:
            print(error, file=sys.stderr)
            return 1
    write(options.results, f"many_models_{options.mode}", _page(found), asdict(found))
    return 1 if found.wrong or found.failed else 0


def measure(instance: Instance, count: int, change_count: int) -> Found:
    """Ask everything, then change one model while another is watched."""
    process_count, memory_bytes = len(instance.processes()), instance.memory_bytes()
    wrong = asyncio.run(_ask_all(instance, count))
    target = _watched(instance)
    calm = asyncio.run(_watch(target, lambda: None))
    changing = asyncio.run(_watch(target, lambda: _change(instance, count - 1, change_count)))
    ledgers = (calm, changing)
    return Found(
        model_count=count,
        ready_s=instance.ready_s,
        memory_mib=memory_bytes / 2**20,
        process_count=process_count,
        right_answer_count=2 * count - len(wrong),
        wrong=tuple(wrong),
        calm_slowest_ms=_slowest_ms(calm),
        change_slowest_ms=_slowest_ms(changing),
        change_count=2 * change_count,
        request_count=sum(len(ledger.entries) for ledger in ledgers),
        failed=tuple(entry.error for ledger in ledgers for entry in ledger.failed()),
    )


async def _ask_all(instance: Instance, count: int) -> list[str]:
    """Ask every model over both wires, some at a time; return what was wrong."""
    wrong: list[str] = []
    indices = iter(range(count))
    async with (
        triton_http.InferenceServerClient(instance.http) as http,
        triton_grpc.InferenceServerClient(instance.grpc) as grpc,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(CLIENTS):
            group.create_task(_ask_some(indices, http, grpc, wrong))
    return wrong


async def _ask_some(indices: Iterator[int], http: Any, grpc: Any, wrong: list[str]) -> None:
    for index in indices:
        x = np.random.default_rng(index).integers(-8, 9, (1, many.COLUMNS_IN)).astype(np.float32)
        want = many.answer(index, x)
        for library, client in ((triton_http, http), (triton_grpc, grpc)):
            tensor = library.InferInput("x", list(x.shape), "FP32")
            tensor.set_data_from_numpy(x)
            try:
                reply = await client.infer(many.name(index), [tensor])
                problem = "" if np.array_equal(reply.as_numpy("y"), want) else "another answer"
            except Exception as error:  # noqa: BLE001  whatever a caller would see is counted
                problem = f"{type(error).__name__}: {error}"
            if problem:
                wrong.append(f"{many.name(index)}: {problem}")


def _watched(instance: Instance) -> Target:
    x = np.ones((1, many.COLUMNS_IN), np.float32)
    return Target(
        http=instance.http,
        grpc=instance.grpc,
        model=many.name(0),
        input_name="x",
        output_name="y",
        value=x,
        expected={"1": many.answer(0, x)},
    )


async def _watch(target: Target, act: Callable[[], None]) -> Ledger:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(
            record(target, stop, http_clients=WATCHERS, grpc_clients=WATCHERS)
        )
        await asyncio.sleep(CALM_S / 2)
        await asyncio.to_thread(act)
        await asyncio.sleep(CALM_S / 2)
        stop.set()
    return running.result()


def _change(instance: Instance, index: int, count: int) -> None:
    """Unload and load one model, over and over."""
    for _ in range(count):
        for word in ("unload", "load"):
            url = f"http://{instance.http}/v2/repository/models/{many.name(index)}/{word}"
            with urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=60):
                pass


def _slowest_ms(ledger: Ledger) -> float:
    times_s = [*ledger.latencies_s("http"), *ledger.latencies_s("grpc")]
    return max(times_s, default=0.0) * 1e3


def _page(found: Found) -> str:
    memory = f"memory of {found.process_count} processes (PSS)"
    slowest = f"slowest request to another model during {found.change_count} unloads and loads"
    rows = (
        ("ready after", f"{found.ready_s:.1f} s", f"{READY_LIMIT_S} s"),
        (memory, f"{found.memory_mib:,.0f} MiB", f"{MEMORY_LIMIT_MIB:,} MiB"),
        ("right answers", f"{found.right_answer_count:,}", f"{2 * found.model_count:,}"),
        (slowest, f"{found.change_slowest_ms:.0f} ms", f"{PAUSE_LIMIT_MS} ms"),
        ("slowest request without changes", f"{found.calm_slowest_ms:.0f} ms", ""),
        ("failed requests", f"{len(found.failed)} of {found.request_count:,}", "0"),
    )
    lines = [
        f"# {found.model_count:,} models in one instance",
        "",
        *machine_lines(),
        "",
        "| what | found | limit |",
        "|---|---:|---:|",
        *(f"| {what} | {value} | {limit} |" for what, value, limit in rows),
        *_problems(found.wrong),
        *_problems(found.failed),
    ]
    return "\n".join(lines) + "\n"


def _problems(texts: Sequence[str]) -> list[str]:
    return ["", *(f"* FAILED: {text}" for text in texts[:5])] if texts else []


if __name__ == "__main__":
    run_main(main)
