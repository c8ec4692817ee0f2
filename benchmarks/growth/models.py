"""1, 100, 1,500 loaded models: what a request costs if all are asked in turn, and if one is."""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
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
    """Ask instances of each count in turns.

    Each runs alone: an idle one beside it would cost CPU time, the more the more models it has.
    """
    with tempfile.TemporaryDirectory(prefix="growth-") as scratch:
        repositories = {count: _written(Path(scratch), count) for count in counts}
        for _, (count, repository) in product(range(rounds), repositories.items()):
            with running_instance(repository) as instance:
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
