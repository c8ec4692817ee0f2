"""Requests/s of every system, one panel a load. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.compare.required import EDGE
from benchmarks.report import Row

COLUMNS: Final = 2
WIDTH_INCHES: Final = 12.0
ROW_HEIGHT_INCHES: Final = 3.2


def draw(path: Path, table: Sequence[Row]) -> None:
    """Write the picture; a load of one system only is no comparison, and left out."""
    by_load = {
        load: [row for row in table if row.load == load]
        for load in dict.fromkeys(row.load for row in table)
    }
    compared = {load: rows for load, rows in by_load.items() if len(rows) > 1}
    lines = max(1, -(-len(compared) // COLUMNS))
    figure = Figure(figsize=(WIDTH_INCHES, ROW_HEIGHT_INCHES * lines), layout="constrained")
    panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axes, (load, rows) in zip(panels, compared.items(), strict=False):
        _fill(axes, load, rows)
    for axes in panels[len(compared) :]:
        axes.set_visible(False)
    figure.savefig(path)


def _fill(axes: Axes, load: str, rows: Sequence[Row]) -> None:
    ordered = sorted(rows, key=lambda row: row.requests_per_s)
    rates = [row.requests_per_s for row in ordered]
    spread = [
        [row.requests_per_s - row.least_per_s for row in ordered],
        [row.most_per_s - row.requests_per_s for row in ordered],
    ]
    colours = ["tab:orange" if row.system == EDGE else "tab:blue" for row in ordered]
    bars = axes.barh([row.system for row in ordered], rates, xerr=spread, color=colours)
    axes.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(right=max(rates) * 4)
    axes.set_title(load)
    axes.set_xlabel("requests/s")
