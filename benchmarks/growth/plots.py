"""A picture of each thing that grows: p50 of a request against its size. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from benchmarks.growth.page import plot_word
from benchmarks.growth.point import Point

WIDTH_INCHES: Final = 8.0
HEIGHT_INCHES: Final = 4.5


def draw(folder: Path, name: str, found: Mapping[str, Sequence[Point]]) -> list[Path]:
    """Write NAME-WHAT.svg and .png; return what was written."""
    written = []
    for what, points in found.items():
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        axes = figure.subplots()
        for series in dict.fromkeys(point.series for point in points):
            own = [point for point in points if point.series == series]
            sizes = [point.size for point in own]
            axes.plot(sizes, [1e3 * point.p50_s for point in own], marker="o", label=series)
        axes.set(xscale="log", yscale="log", xlabel=what, ylabel="p50 of a request, ms")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
        for suffix in ("svg", "png"):
            path = folder / f"{name}-{plot_word(what)}.{suffix}"
            figure.savefig(path)
            written.append(path)
    return written
