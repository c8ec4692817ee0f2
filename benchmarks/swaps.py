"""Swap a model's versions back and forth under constant load; prove that no request is lost.

    python -m benchmarks.swaps [--count 100] [--mode standalone|ray] [--keep-old] [--rollbacks 20]

Each swap is a blue-green rollout without a bake: the other version is loaded beside, takes all
traffic at once, and the one before is unloaded (`--keep-old`: stays loaded). The load is that of
`bascule loadtest`: HTTP and gRPC clients, half of them with a new connection for each request, rows
of 1 kB and of 1 MB, a stream, and sequences of a second model that is swapped at the same times.
Between blocks of swaps there is a steady time; what comes before the first, while clients and
server warm up, is neither. Clients, operator and server have sessions of their own (Linux may share
CPUs by sessions), as they have where no single program starts them. Then `bascule rollback` is
timed, under the same load. Exits 1 when a request failed or was answered wrong, or by a version
that was not live.
"""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Final

from benchmarks.command import add_results, command_parser, count, run_main
from benchmarks.instance import Instance, InstanceError, running_instance, until
from benchmarks.report import write
from benchmarks.swap_models import COUNTER, SWING, counter_asked, push_models, swing_asked
from benchmarks.swap_report import Kind, Run, Window, all_of, judged, page
from serving.cli.admin_client import AdminClient
from serving.cli.load.clients import Load, record
from serving.cli.load.ledger import Heading, Ledger, heading, write_ledger
from serving.cli.load.rollout_flips import rollout_flips
from serving.edge.control import RolloutReport
from serving.host_port import host_port
from serving.registry.rollouts.record import ENDED, RolloutState

SMALL_BYTES: Final = 1_000
LARGE_BYTES: Final = 1_000_000
BLOCK: Final = 10
LOOK_S: Final = 0.2
"""Between two looks at a rollout: each costs the instance, and the clients beside us, some CPU."""
WARM_S: Final = 5.0
SETTLED_S: Final = 1.0
"""After a swap: the version before is stopped, which is not steady yet."""
LONG_BAKE_S: Final = 600.0
SWAP_LIMIT_S: Final = 120.0


@dataclass(slots=True)
class Swapper:
    """Moves both models from version to version, and keeps what was recorded of it."""

    instance: Instance
    keeps_old: bool
    live: int = 1
    warm_s: float = 0.0
    """When the first steady time began. Seconds, monotonic."""
    reports: dict[str, list[RolloutReport]] = field(
        default_factory=lambda: {SWING: [], COUNTER: []}
    )
    windows: list[Window] = field(default_factory=list)
    rollbacks_s: list[float] = field(default_factory=list)

    def swap(self) -> None:
        """Give both models' traffic to the other version, and unload the one before."""
        began_s = time.monotonic()
        self.live = 3 - self.live
        begun = {model: self._begin(model, self.live, bake_s=0.0) for model in self.reports}
        for model, number in begun.items():
            self._note(model, number)
        self.windows.append(Window(began_s=began_s, ended_s=time.monotonic() + SETTLED_S))

    def roll_back(self) -> None:
        """Give one model's traffic to the other version, and take it back by the command."""
        number = self._begin(SWING, 3 - self.live, bake_s=LONG_BAKE_S)
        client = self._client()

        def is_switched() -> bool:
            return client.rollout(number).rollout.state is RolloutState.SWITCHED

        until(is_switched, SWAP_LIMIT_S, "traffic went to the other version", look_s=LOOK_S)
        time.sleep(SETTLED_S)
        asked_s = time.monotonic()
        self.instance.bascule("rollback", SWING, "--reason", "benchmark")
        self.rollbacks_s.append(time.monotonic() - asked_s)
        self._note(SWING, number)

    def _begin(self, model: str, to: int, *, bake_s: float) -> int:
        body = {"version": to, "bake_s": bake_s, "keep_old": self.keeps_old, "reason": "benchmark"}
        return self._client().start_rollout(model, body).id

    def _note(self, model: str, number: int) -> None:
        """Wait until a rollout has ended, and keep its record."""
        client = self._client()
        until(
            lambda: client.rollout(number).rollout.state in ENDED,
            SWAP_LIMIT_S,
            f"rollout {number} has ended",
            look_s=LOOK_S,
        )
        report = client.rollout(number)
        if report.rollout.state is RolloutState.FAILED:
            raise InstanceError(f"rollout {number} of {model} failed: {report.rollout.note}")
        self.reports[model].append(report)

    def _client(self) -> AdminClient:
        return AdminClient(self.instance.home / "run" / "admin.sock")


def act(swapper: Swapper, options: argparse.Namespace) -> Swapper:
    """Steady, a block of swaps, steady, …, then rollbacks; return what was recorded."""
    time.sleep(WARM_S)
    swapper.warm_s = time.monotonic()
    for turn in range(options.count):
        if turn % BLOCK == 0:
            time.sleep(options.steady_s)
            print(f"{turn} of {options.count} swaps", flush=True)
        swapper.swap()
    time.sleep(options.steady_s)
    for _ in range(options.rollbacks):
        swapper.roll_back()
    time.sleep(SETTLED_S)
    return swapper


def loads(instance: Instance, rate: float) -> tuple[Load, ...]:
    """Small rows often, large ones seldom, a stream, and sequences."""
    http, grpc = host_port(instance.http), host_port(instance.grpc)
    small = Load(
        http=http,
        grpc=grpc,
        asked=(swing_asked(SMALL_BYTES),),
        new_share=0.5,
        stream_count=1,
        rate=rate,
    )
    large = replace(
        small,
        asked=(swing_asked(LARGE_BYTES),),
        http_client_count=2,
        grpc_client_count=2,
        stream_count=0,
        rate=rate / 5,
    )
    steps = replace(
        small,
        asked=(counter_asked(),),
        http_client_count=0,
        grpc_client_count=0,
        stream_count=0,
        sequence_count=2,
    )
    return small, large, steps


@contextmanager
def _process_beside() -> Iterator[ProcessPoolExecutor]:
    """Give a process; who is ended early does not wait for the swaps that are left."""
    with ProcessPoolExecutor(1, get_context("spawn"), os.setsid) as beside:
        try:
            yield beside
        finally:
            for process in active_children():
                process.kill()


async def under_load(
    instance: Instance, swapper: Swapper, options: argparse.Namespace
) -> tuple[Swapper, dict[str, Ledger]]:
    """Swap while the clients ask, in another process: a thread's work would be in their times."""
    ledgers = {SWING: Ledger(), COUNTER: Ledger()}
    stop = asyncio.Event()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)  # a collection would be in the clients' latencies
    loop = asyncio.get_running_loop()
    with _process_beside() as beside:
        async with asyncio.TaskGroup() as group:
            for load in loads(instance, options.rate):
                ledger = ledgers[load.asked[0].question.model]
                group.create_task(record(load, stop, ledger))
            swapper = await loop.run_in_executor(beside, act, swapper, options)
            stop.set()
    return swapper, ledgers


def run(options: argparse.Namespace, folder: Path) -> tuple[Kind, tuple[Run, ...]]:
    """Start an instance, swap, and return what callers saw: all, and those of each model."""
    (folder / "models").mkdir()
    with running_instance(folder / "models", mode=options.mode) as instance:
        push_models(instance, folder)
        swapper = Swapper(instance, options.keep_old)
        head = heading("", time.monotonic())
        swapper, ledgers = asyncio.run(under_load(instance, swapper, options))
    together = all_of(ledgers.values(), swapper.windows, swapper.warm_s)
    return together, tuple(
        _judged(head, ledgers[model], swapper, reports, options.ledger, model)
        for model, reports in swapper.reports.items()
    )


def _judged(
    head: Heading,
    ledger: Ledger,
    swapper: Swapper,
    reports: Sequence[RolloutReport],
    kept: Path | None,
    model: str,
) -> Run:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        write_ledger(kept / f"{model}.jsonl", head, ledger.entries)
    return judged(
        model,
        ledger,
        rollout_flips(reports, head),
        swapper.windows,
        swapper.warm_s,
        tuple(swapper.rollbacks_s) if model == SWING else (),
    )


def main() -> int:
    """Swap, judge, print, write."""
    parser = command_parser("benchmarks.swaps", __doc__)
    parser.add_argument("--count", type=count, default=100)
    parser.add_argument("--mode", choices=("standalone", "ray"), default="standalone")
    parser.add_argument("--keep-old", action="store_true", help="both versions stay loaded")
    parser.add_argument("--rate", type=float, default=20.0, help="of each small client, a second")
    parser.add_argument("--steady-s", type=float, default=10.0, help="before each ten swaps")
    parser.add_argument("--rollbacks", type=int, default=20)
    parser.add_argument("--ledger", type=Path, metavar="DIR", help="keep the ledgers there")
    add_results(parser)
    options = parser.parse_args()
    found: tuple[Kind, tuple[Run, ...]] | None = None
    with tempfile.TemporaryDirectory(prefix="swaps-") as folder:
        try:
            found = run(options, Path(folder))
        except* InstanceError as errors:  # raised beside the clients, in their task group
            print(*errors.exceptions, sep="\n", file=sys.stderr)
    if found is None:
        return 1
    together, runs = found
    name = f"swaps_{options.mode}{'_kept' if options.keep_old else ''}"
    write(options.results, name, page(options.mode, together, runs), [one.facts() for one in runs])
    return 0 if all(one.is_clean() for one in runs) else 1


if __name__ == "__main__":
    run_main(main)
