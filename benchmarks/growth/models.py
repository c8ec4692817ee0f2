"""1, 100, 1,500 loaded models: what a request costs if all are asked in turn, and if one is."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.growth.loading import Load, loaded, one_row, spread_script
from benchmarks.growth.point import Point
from benchmarks.instance import Instance, running_instance
from benchmarks.models import many
from benchmarks.models.layout import write_model

CONNECTIONS: Final = 32
ONE: Final = "one model is asked"
ALL: Final = "all are asked in turn"


def measure(counts: Sequence[int], rounds: int, seconds: float) -> Iterator[Point]:
    """Start an instance for each count, all at once, and ask them in turns."""
    with tempfile.TemporaryDirectory(prefix="growth-") as scratch, ExitStack() as stack:
        instances = {
            count: stack.enter_context(running_instance(_written(Path(scratch), count)))
            for count in counts
        }
        for _ in range(rounds):
            for count, instance in instances.items():
                yield from _round(instance, count, Path(scratch), seconds)


def _round(instance: Instance, count: int, folder: Path, seconds: float) -> Iterator[Point]:
    plain, spread = one_row().write_for_wrk(folder), spread_script(folder, count)
    for series, script in ((ONE, plain), (ALL, spread)):
        load = Load(path=one_row().path, script=script, connections=CONNECTIONS, seconds=seconds)
        yield loaded(instance, load, series=series, size=count)


def _written(scratch: Path, count: int) -> Path:
    repository = scratch / f"models-{count}"
    for model in many.many_models(count):
        write_model(repository, model)
    return repository
