"""A plot as SVG for a page: a few lines over time, nothing from elsewhere. Pure."""

import math
from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from serving.rollout.report.page import Plot, Point, Series

WIDTH: Final = 720
HEIGHT: Final = 240
LEFT: Final = 64
RIGHT: Final = 16
TOP: Final = 28
BOTTOM: Final = 36
TICKS: Final = 4
"""At most so many parts of an axis."""
LETTER: Final = 7.2
"""Widest that a letter of the legend is on average."""
ROUND: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
"""What ticks are apart, times a power of ten."""
UNITS: Final = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
LEAST_COUNT: Final = 3.0
"""A time is told in the largest unit that it has so many of."""


def svg(plot: Plot) -> str:
    """Draw a plot; its texts are escaped."""
    box = f"0 0 {WIDTH} {HEIGHT}"
    root = ET.Element("svg", {"viewBox": box, "role": "img", "width": str(WIDTH)})
    ET.SubElement(root, "title").text = f"{plot.title} ({plot.unit})"
    points = [point for series in plot.series for point in series.points]
    scale = _Scale(points)
    _axes(root, plot, scale)
    for series in plot.series:
        _line(root, series, scale, is_stepped=plot.is_stepped)
    _legend(root, plot.series)
    return ET.tostring(root, encoding="unicode")


def tick_of(highest: float) -> float:
    """Return a round number of which a few reach up to a value that is above 0."""
    least = highest / TICKS
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * one for one in ROUND if power * one >= least * (1 - 1e-9))


class _Scale:
    """From numbers to places in the picture."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.first = min((point.x for point in points), default=0.0)
        self.last = max(max((point.x for point in points), default=1.0), self.first + 1e-3)
        highest = max((point.y for point in points), default=0.0) or 1.0
        self.tick = tick_of(highest)
        self.top = self.tick * math.ceil(highest / self.tick - 1e-9)
        length = self.last - self.first
        found = (unit for unit in UNITS if length >= LEAST_COUNT * unit[0])
        self.unit_s, self.unit = next(found, UNITS[-1])

    def x(self, value: float) -> float:
        """Return the place of a moment."""
        share = (value - self.first) / (self.last - self.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the place of a value."""
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def _axes(root: ET.Element, plot: Plot, scale: _Scale) -> None:
    for number in range(round(scale.top / scale.tick) + 1):
        value = scale.tick * number
        place = scale.y(value)
        line = {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": place, "y2": place}
        ET.SubElement(root, "line", {**_texts(line), "class": "grid"})
        _text(root, LEFT - 6, place + 4, f"{value:,.6g}", "end")
    for tick in range(TICKS + 1):
        moment = scale.first + (scale.last - scale.first) * tick / TICKS
        anchor = ("start", "end")[tick == TICKS] if tick in {0, TICKS} else "middle"
        text = f"{moment / scale.unit_s:,.3g} {scale.unit}"
        _text(root, scale.x(moment), HEIGHT - BOTTOM + 16, text, anchor)
    _text(root, 4, 14, f"{plot.title} ({plot.unit})", "start")
    end = _text(root, WIDTH - RIGHT, HEIGHT - 4, "since the rollout began", "end")
    end.set("class", "quiet")


def _line(root: ET.Element, series: Series, scale: _Scale, *, is_stepped: bool) -> None:
    places = list(_places(series.points, scale, is_stepped=is_stepped))
    if not places:
        return
    look = {
        "points": " ".join(places),
        "class": _side(series),
    }
    if series.is_dashed:
        look["stroke-dasharray"] = "5 3"
    ET.SubElement(root, "polyline", look)
    for place in places if len(series.points) == 1 else ():
        x, _, y = place.partition(",")
        ET.SubElement(root, "circle", {"cx": x, "cy": y, "r": "2.5", "class": _side(series)})


def _places(points: Iterable[Point], scale: _Scale, *, is_stepped: bool) -> Iterable[str]:
    before: Point | None = None
    for point in points:
        if is_stepped and before is not None:
            yield f"{scale.x(point.x):.1f},{scale.y(before.y):.1f}"
        yield f"{scale.x(point.x):.1f},{scale.y(point.y):.1f}"
        before = point


def _legend(root: ET.Element, lines: Sequence[Series]) -> None:
    place = float(WIDTH - RIGHT)
    for series in reversed(lines):
        name = f"{series.name}{' (dashed)' if series.is_dashed else ''}"
        node = _text(root, place, 14, name, "end")
        node.set("class", _side(series))
        place -= LETTER * len(name) + 14


def _side(series: Series) -> str:
    """Return the class of what belongs to a version: the page knows its colour."""
    return "candidate" if series.is_candidate else "live"


def _text(root: ET.Element, x: float, y: float, text: str, anchor: str) -> ET.Element:
    look = {**_texts({"x": x, "y": y}), "text-anchor": anchor}
    node = ET.SubElement(root, "text", look)
    node.text = text
    return node


def _texts(numbers: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.1f}" for name, value in numbers.items()}
