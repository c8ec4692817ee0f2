"""What a feature costs those who call: with it and without, side by side in one instance.

Rounds are outermost, so that what is compared is measured at nearly the same time.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import add_results, count, positive
from benchmarks.instance import Instance, InstanceError, running_instance
from benchmarks.load_tools import LoadError, require_tools
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.report import Sample, as_facts, markdown, rows, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Models of one instance, and how a round of calls to them is measured."""

    name: str
    """Of the report's files."""
    about: str
    title: str
    plain: str
    """The system that the others are held against."""
    models: Callable[[], Iterable[ModelFolder]]
    measured: Callable[[int, Instance, int, float], Iterator[Sample]]
    """Given the round's number, the instance, connections, and seconds of each load."""
    has_prediction_log: bool = False


def compare(comparison: Comparison) -> int:
    """Measure as the command line says, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=comparison.about)
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--seconds", type=positive, default=3.0)
    parser.add_argument("--connections", type=count, nargs="+", default=[1, 32])
    add_results(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=f"{comparison.name}-") as scratch:
        folder = Path(scratch)
        for model in comparison.models():
            write_model(folder / "models", model)
        log = str(folder / "log") if comparison.has_prediction_log else ""
        try:
            require_tools()
            with running_instance(folder / "models", prediction_log=log) as instance:
                samples = [
                    sample
                    for number in range(1, options.rounds + 1)
                    for connections in options.connections
                    for sample in comparison.measured(
                        number, instance, connections, options.seconds
                    )
                ]
        except (InstanceError, LoadError) as error:
            print(error, file=sys.stderr)
            return 1
    table = rows(samples)
    title = f"{comparison.title}: median of {options.rounds} rounds of {options.seconds:.0f} s"
    page = markdown(title, table, comparison.plain)
    write(options.results, comparison.name, page, as_facts(table))
    return 1 if any(row.failures for row in table) else 0
