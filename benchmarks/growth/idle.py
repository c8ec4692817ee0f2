"""1, 1,000, 10,000 idle connections: what the calls of others cost meanwhile, and memory."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.growth.loading import Load, loaded, one_row
from benchmarks.growth.point import Point
from benchmarks.instance import Instance, running_instance
from benchmarks.models import many
from benchmarks.models.layout import write_model

CONNECTIONS: Final = 32
STEP: Final = 500
"""The most that fits is rounded down to."""
SERIES: Final = "32 busy connections"


def fitting(counts: Sequence[int], limit: int) -> tuple[int, ...]:
    """Return counts that an edge with such a limit can hold beside the busy ones.

    Args:
        counts: What is wanted, ascending.
        limit: Connections that the edge takes (`serving.edge.haproxy_process.connection_limit`).
    """
    room = (limit - 2 * CONNECTIONS) // STEP * STEP or limit // 2
    return tuple(dict.fromkeys(min(count, room) for count in counts))


def measure(counts: Sequence[int], rounds: int, seconds: float) -> Iterator[Point]:
    """Hold so many connections, and load the instance by others."""
    with tempfile.TemporaryDirectory(prefix="growth-") as scratch:
        folder = Path(scratch)
        for model in many.many_models(1):
            write_model(folder / "models", model)
        with running_instance(folder / "models") as instance:
            load = Load(
                path=one_row().path,
                script=one_row().write_for_wrk(folder),
                connections=CONNECTIONS,
                seconds=seconds,
            )
            for count in [*counts] * rounds:
                yield _beside(instance, count, load)


def _beside(instance: Instance, count: int, load: Load) -> Point:
    with _held(instance.http, count) as (holder, held):
        point = loaded(instance, load, series=SERIES, size=count)
        answered = told(holder, "answered", ask=True)
    lost = [
        f"{count - number} of {count} connections {what}"
        for number, what in ((held, "were refused"), (answered, "were not answered afterwards"))
        if number < count
    ]
    return replace(point, failures=(*point.failures, *lost))


@contextmanager
def _held(http: str, count: int) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    host, _, port = http.rpartition(":")
    command = [sys.executable, "-m", "benchmarks.growth.holder", host, port, str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        yield holder, told(holder, "held", ask=False)


def told(holder: "subprocess.Popen[str]", word: str, *, ask: bool) -> int:
    """Read a count off the holder, which is 0 when it has died."""
    if ask and holder.stdin is not None:
        holder.stdin.close()
    said = holder.stdout.readline().split() if holder.stdout is not None else []
    return int(said[1]) if said[:1] == [word] else 0
