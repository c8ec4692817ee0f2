"""Every system under each load, one panel a load. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.compare.required import EDGE, OPEN_LOOP
from benchmarks.report import Row

COLUMNS: Final = 2
WIDTH_INCHES: Final = 12.0
ROW_HEIGHT_INCHES: Final = 3.2
OPEN_LOOP_PREFIX: Final = OPEN_LOOP.partition("{")[0]


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
    """Draw requests/s; what an open loop sends is given, so there it is the time of calls."""
    is_open = load.startswith(OPEN_LOOP_PREFIX)
    values = {row.system: row.p99_s * 1e3 if is_open else row.requests_per_s for row in rows}
    ordered = sorted(rows, key=lambda row: values[row.system], reverse=is_open)
    heights = [values[row.system] for row in ordered]
    spread = [
        [row.requests_per_s - row.least_per_s for row in ordered],
        [row.most_per_s - row.requests_per_s for row in ordered],
    ]
    colours = ["tab:orange" if row.system == EDGE else "tab:blue" for row in ordered]
    names = [row.system for row in ordered]
    bars = axes.barh(names, heights, xerr=None if is_open else spread, color=colours)
    axes.bar_label(bars, [f"{height:,.1f}" if is_open else f"{height:,.0f}" for height in heights])
    axes.set_xscale("log")
    axes.set_xlim(left=min(1.0, *heights) / 2, right=max(heights) * 8)
    axes.set_title(load)
    axes.set_xlabel("p99, ms" if is_open else "requests/s")
