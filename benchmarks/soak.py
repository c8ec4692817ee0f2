"""Good and hostile traffic together, for minutes: `python -m benchmarks.soak --minutes 10`.

Good clients check every answer, bit for bit, over both transports. Hostile ones send what ends
other servers, and count any 5xx that a client's mistake gets. Slow ones hold half a request.
Meanwhile the memory of every process of the instance is noted. Prints a report in Markdown, and
writes it with `--report FILE`; exit status 1 if an answer was wrong, a mistake got a 5xx, a good
call failed, or a process grew by more than a tenth (and 16 MiB) from the second quarter to the
last.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from benchmarks.command import run_main
from benchmarks.instance import Instance, running_instance
from benchmarks.models.layout import write_model
from benchmarks.models.small import tiny_graph
from benchmarks.models.weights import tiny_bias, tiny_weight
from benchmarks.soak_attacks import CLIENT_MISTAKES, grpc_attacks, half_requests, http_attacks

SAMPLE_S: Final = 2.0
GOOD_CLIENTS: Final = 2
GROWTH_RATIO: Final = 0.1
GROWTH_BYTES: Final = 16 << 20
MIB: Final = 1 << 20


@dataclass(slots=True)
class Ledger:
    """What was counted; each thread writes its own keys."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory: dict[str, list[int]] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def fault(self, kind: str, text: str) -> None:
        """Count something that must not be."""
        self.counts[kind] += 1
        self.faults.append(f"{kind}: {text[:300]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--report", type=Path, help="file for the report")
    given = parser.parse_args(argv)
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="bascule-") as folder:
        repository = Path(folder) / "models"
        write_model(repository, tiny_graph().folder("tiny", 64))
        with running_instance(repository) as instance, _traffic(instance, ledger):
            _watch(instance, ledger, given.minutes * 60)
    report = _report(ledger, given.minutes)
    sys.stdout.write(report)
    if given.report is not None:
        given.report.write_text(report)
    return 1 if ledger.faults or _grown(ledger) else 0


@contextmanager
def _traffic(instance: Instance, ledger: Ledger) -> Iterator[None]:
    jobs: list[Callable[[], None]] = [
        *(lambda: _good(instance.http, triton_http, "http", ledger) for _ in range(GOOD_CLIENTS)),
        *(lambda: _good(instance.grpc, triton_grpc, "grpc", ledger) for _ in range(GOOD_CLIENTS)),
        lambda: _hostile(instance, ledger),
        lambda: _slow(instance, ledger),
    ]
    threads = [threading.Thread(target=_guarded, args=(job, ledger)) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ledger.stop.set()
        for thread in threads:
            thread.join()


def _guarded(job: Callable[[], None], ledger: Ledger) -> None:
    try:
        job()
    except Exception as error:  # noqa: BLE001  a client that ends is a finding
        ledger.fault("client ended", f"{type(error).__name__}: {error}")


def _good(address: str, library: Any, wire: str, ledger: Ledger) -> None:
    random = np.random.default_rng(threading.get_ident())
    weight, bias = tiny_weight(), tiny_bias()
    with library.InferenceServerClient(address) as client:
        while not ledger.stop.is_set():
            rows = int(random.integers(1, 9))
            values = random.integers(-8, 8, (rows, 16)).astype(np.float32) / 4
            x = library.InferInput("x", list(values.shape), "FP32")
            x.set_data_from_numpy(values)
            try:
                answer = client.infer("tiny", [x]).as_numpy("y")
            except InferenceServerException as error:
                ledger.fault("good call failed", f"{wire}: {error}")
                continue
            ledger.counts[f"good {wire}"] += 1
            if not np.array_equal(answer, values @ weight + bias):
                ledger.fault("wrong answer", f"{wire}: {values.tolist()}")


def _hostile(instance: Instance, ledger: Ledger) -> None:
    with grpc_attacks(instance.grpc) as attack_grpc:
        while not ledger.stop.is_set():
            _count(ledger, http_attacks(instance.http))
            _count(ledger, attack_grpc())


def _count(ledger: Ledger, attacks: Iterable[tuple[str, int]]) -> None:
    for name, status in attacks:
        ledger.counts[f"hostile {name}"] += 1
        if status not in CLIENT_MISTAKES:
            ledger.fault("5xx for a mistake", f"{name}: {status}")
        if ledger.stop.is_set():
            return


def _slow(instance: Instance, ledger: Ledger) -> None:
    while not ledger.stop.is_set():
        with half_requests(instance.http) as count:
            ledger.counts["half requests"] += count
            ledger.stop.wait(3.0)


def _watch(instance: Instance, ledger: Ledger, duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        for process in instance.processes():
            try:
                label = _label(process)
                ledger.memory.setdefault(label, []).append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                ledger.fault("process ended", str(process.pid))
        time.sleep(SAMPLE_S)


def _label(process: psutil.Process) -> str:
    words = process.cmdline()
    if "--worker" in words:
        return f"worker {words[words.index('--worker') + 1]} ({process.pid})"
    return f"{'haproxy' if 'haproxy' in words[0] else 'bascule serve'} ({process.pid})"


def _grown(ledger: Ledger) -> Mapping[str, int]:
    grown: dict[str, int] = {}
    for label, samples in ledger.memory.items():
        early, late = _quarters(samples)
        if late - early > max(GROWTH_RATIO * early, GROWTH_BYTES):
            grown[label] = late - early
    return grown


def _quarters(samples: Sequence[int]) -> tuple[int, int]:
    """Medians of the second and of the last quarter."""
    quarter = max(1, len(samples) // 4)
    early = samples[quarter : 2 * quarter] or samples
    return int(statistics.median(early)), int(statistics.median(samples[-quarter:]))


def _report(ledger: Ledger, minutes: float) -> str:
    cpus = psutil.cpu_count()
    lines = [
        f"# Soak: {minutes:g} minutes, {platform.machine()}, {cpus} CPUs, {time.strftime('%F')}\n",
        "| traffic | count |",
        "|---|---:|",
        *(f"| {name} | {count} |" for name, count in sorted(ledger.counts.items())),
        "",
        "| process | MiB: first | second quarter | last quarter | most |",
        "|---|---:|---:|---:|---:|",
    ]
    for label, samples in sorted(ledger.memory.items()):
        early, late = _quarters(samples)
        sizes = (samples[0], early, late, max(samples))
        lines.append(f"| {label} | {' | '.join(f'{size / MIB:.1f}' for size in sizes)} |")
    verdict = "nothing" if not ledger.faults else f"{len(ledger.faults)} faults"
    grown = ", ".join(_grown(ledger)) or "no process"
    lines += ["", f"Wrong: {verdict}. Grown: {grown}.", *ledger.faults[:20], ""]
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)
