"""Rows/s against the batch size, bare and served, one picture a model. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from benchmarks.gpu.cases import Case
from benchmarks.gpu.results import Measured, Row

WIDTH_INCHES: Final = 8.0
HEIGHT_INCHES: Final = 4.5
COLOURS: Final = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def draw(folder: Path, name: str, rows: Sequence[Row]) -> list[Path]:
    """Write NAME-MODEL.svg and .png for each model that has figures; return what was written."""
    written = []
    for model in dict.fromkeys(row.case.model for row in rows if isinstance(row.found, Measured)):
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        _fill(figure.subplots(), model, [row for row in rows if row.case.model == model])
        for suffix in ("svg", "png"):
            path = folder / f"{name}-{model}.{suffix}"
            figure.savefig(path)
            written.append(path)
    return written


def _fill(axes: Axes, model: str, rows: Sequence[Row]) -> None:
    cases = dict.fromkeys(row.case for row in rows if isinstance(row.found, Measured))
    for case, colour in zip(cases, COLOURS, strict=False):
        _lines(axes, case, colour, [row for row in rows if row.case == case])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("rows a request, and a batch of the engine alone")
    axes.set_ylabel("rows/s")
    axes.set_title(model)
    sizes = sorted({row.batch_rows for row in rows})
    axes.set_xticks(sizes, labels=[str(size) for size in sizes])
    for set_format in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        set_format(StrMethodFormatter("{x:,.0f}"))
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()


def _lines(axes: Axes, case: Case, colour: str, rows: Sequence[Row]) -> None:
    found = {row.batch_rows: row.found for row in rows if isinstance(row.found, Measured)}
    where = f"{case.engine} on {case.device}"
    bare = [one.bare_rows_per_s for one in found.values()]
    served = [one.served_rows_per_s for one in found.values()]
    axes.plot(list(found), bare, color=colour, linestyle="--", marker="o", label=f"{where}, bare")
    axes.plot(list(found), served, color=colour, marker="s", label=f"{where}, served")
