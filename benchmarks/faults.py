"""Break parts of a running instance under load and count what callers saw.

    python -m benchmarks.faults --home DIR [--http HOST:PORT] [--grpc HOST:PORT] SCENARIO …

Scenarios: `kill-workers` (ten times kill -9 of one worker of `steady`, a model with two replicas),
`kill-sole-worker` (three times that of `versioned`, which has one),
`kill-haproxy`, `kill-controller` (Ray mode: its actor), `flip` (twenty times `bascule promote` of
`versioned` between its versions 1 and 2). Each runs 8 HTTP and 8 gRPC clients, checks every answer
and prints one line with the counts. `python -m benchmarks.faults --write-repository DIR` makes the
models that the scenarios ask. Exits 1 when a request failed that should not have.

`kill-workers` on 27 November 2026, 2 busy cores: 10 kills, 0 of 50,442 requests failed, and the
longest time without an answer was 153 ms.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.command import run_main
from benchmarks.instance import Instance, InstanceError, instance_at, until
from benchmarks.ledger import Target, during
from serving.cli.load.flips import Flip, judge
from serving.cli.load.ledger import Ledger

COLUMNS: Final = 16
KILL_COUNT: Final = 10
SOLE_KILL_COUNT: Final = 3  # one that keeps ending is started again after ever longer pauses
FLIP_COUNT: Final = 20
RECOVERY_LIMIT_S: Final = 60.0


def write_repository(root: Path) -> None:
    """Write `steady` (one version, two replicas) and `versioned` (versions 1 and 2)."""
    for model, versions, replicas in (("steady", (1,), 2), ("versioned", (1, 2), 1)):
        for version in versions:
            folder = root / model / str(version)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(_adds(version))
        (root / model / "config.pbtxt").write_text(
            f'name: "{model}"\nbackend: "onnxruntime"\nmax_batch_size: 64\n'
            "version_policy { all {} }\n"
            f"instance_group [ {{ count: {replicas} kind: KIND_CPU }} ]\n"
        )


def _adds(version: int) -> bytes:
    """A model whose answer tells its version: y = x + version."""
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", COLUMNS]) for name in "xy"
    ]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "v"], ["y"])],
        "adds",
        tensors[:1],
        tensors[1:],
        [numpy_helper.from_array(np.array([version], np.float32), "v")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def target(instance: Instance, model: str) -> Target:
    """What the clients ask of one of the repository's models."""
    value = np.arange(COLUMNS, dtype=np.float32)[None]
    return Target(
        http=instance.http,
        grpc=instance.grpc,
        model=model,
        input_name="x",
        output_name="y",
        value=value,
        expected={str(v): value + np.float32(v) for v in (1, 2)},
    )


def ready_workers(instance: Instance, model: str) -> list[Any]:
    """The ready workers of a model's pool."""
    status = instance.status()
    pools = {v["pool"] for v in status["versions"] if v["model"] == model}
    return [w for w in status["workers"] if w["pool"] in pools and w["state"] == "ready"]


def recovered(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, as long as recovery may take; a command may fail in between."""

    def is_so() -> bool:
        with suppress(InstanceError):
            return condition()
        return False

    until(is_so, RECOVERY_LIMIT_S, what)


def kill_workers(instance: Instance) -> tuple[Ledger, str]:
    """Kill one of two workers, wait until both are ready, and so on."""
    return _kill_workers_of(instance, "steady", KILL_COUNT)


def kill_sole_worker(instance: Instance) -> tuple[Ledger, str]:
    """Kill the only worker of a model, wait until it is back, and so on."""
    return _kill_workers_of(instance, "versioned", SOLE_KILL_COUNT)


def _kill_workers_of(instance: Instance, model: str, count: int) -> tuple[Ledger, str]:
    def kill_one(turn: int) -> None:
        workers = ready_workers(instance, model)
        killed = workers[turn % len(workers)]["pid"]
        os.kill(killed, signal.SIGKILL)

        def whole_again() -> bool:
            pids = {w["pid"] for w in ready_workers(instance, model)}
            return killed not in pids and len(pids) >= len(workers)

        recovered(whole_again, "as many ready workers as before or more")

    def act() -> None:
        for turn in range(count):
            kill_one(turn)

    return asyncio.run(during(target(instance, model), act)), f"{count} kills"


def kill_haproxy(instance: Instance) -> tuple[Ledger, str]:
    """Kill HAProxy and wait until its supervisor has another one."""

    def act() -> None:
        before = instance.status()["edges"][0]["haproxy_pid"]
        os.kill(before, signal.SIGKILL)
        recovered(
            lambda: instance.status()["edges"][0]["haproxy_pid"] not in {0, before}, "a new HAProxy"
        )

    return asyncio.run(during(target(instance, "steady"), act, after_s=3.0)), "1 kill"


def kill_controller(instance: Instance) -> tuple[Ledger, str]:
    """Kill the controller's actor and wait until a new one answers."""

    def controllers() -> set[int]:
        listed = subprocess.run(
            ["pgrep", "-f", "ServeReplica:bascule-controller"],
            capture_output=True,
            text=True,
            check=False,
        )
        return {int(pid) for pid in listed.stdout.split() if _belongs(int(pid), instance.home)}

    def act() -> None:
        before = controllers()
        if not before:
            sys.exit("no controller actor found: is this instance one of `bascule up`?")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        recovered(lambda: bool(controllers() - before), "a new controller actor")
        recovered(lambda: bool(instance.status()["ready"]), "a controller that answers")

    return asyncio.run(during(target(instance, "steady"), act, after_s=3.0)), "1 kill"


def _belongs(pid: int, home: Path) -> bool:
    try:
        return f"BASCULE_HOME={home}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def flip(instance: Instance) -> tuple[Ledger, str]:
    """Promote back and forth; no answer of the old version to a request sent after the command."""
    flips: list[Flip] = []

    def act() -> None:
        for turn in range(FLIP_COUNT):
            to = 1 + turn % 2
            began_s = time.monotonic()
            instance.bascule("promote", "versioned", "--to", str(to))
            done_s = time.monotonic()
            flip = Flip(
                from_version=str(3 - to),
                to_version=str(to),
                began_s=began_s,
                done_s=done_s,
            )
            flips.append(flip)
            time.sleep(0.3)

    ledger = asyncio.run(during(target(instance, "versioned"), act))
    judged = judge(ledger.entries, flips)
    told = f"{len(judged.stale)} stale answers, {len(judged.early)} early ones"
    return ledger, f"{FLIP_COUNT} flips, {told}"


SCENARIOS: Final[dict[str, Callable[[Instance], tuple[Ledger, str]]]] = {
    "kill-workers": kill_workers,
    "kill-sole-worker": kill_sole_worker,
    "kill-haproxy": kill_haproxy,
    "kill-controller": kill_controller,
    "flip": flip,
}


def report(name: str, ledger: Ledger, what: str) -> bool:
    """Print what callers saw; True when nobody saw a failure."""
    failed = ledger.failed()
    p50_ms = [
        f"{transport} p50 {median(ledger.latencies_s(transport)) * 1e3:.2f} ms"
        for transport in ("http", "grpc")
        if ledger.latencies_s(transport)
    ]
    print(
        f"{name}: {what}, {len(ledger.entries)} requests, {len(failed)} failed, longest gap "
        f"{ledger.longest_gap_s() * 1e3:.0f} ms, {', '.join(p50_ms)}",
        flush=True,
    )
    for entry in failed[:3]:
        print(f"  {entry.transport}: {entry.error[:200]}")
    return not failed and (" stale" not in what or " 0 stale" in what)


def main() -> int:
    """Run the scenarios in the order given."""
    parser = argparse.ArgumentParser(description="break parts under load, count what callers saw")
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []])
    parser.add_argument("--home", type=Path)
    parser.add_argument("--http", default="127.0.0.1:8000")
    parser.add_argument("--grpc", default="127.0.0.1:8001")
    parser.add_argument("--write-repository", type=Path)
    options = parser.parse_args()
    if options.write_repository:
        write_repository(options.write_repository)
        return 0
    instance = instance_at(options.home, http=options.http, grpc=options.grpc)
    outcomes = [False]
    try:
        outcomes = [report(name, *SCENARIOS[name](instance)) for name in options.scenarios]
    except* InstanceError as errors:  # raised beside the clients, in their task group
        print(*errors.exceptions, sep="\n", file=sys.stderr)
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    run_main(main)
