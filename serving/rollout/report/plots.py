"""A plot as SVG for a page: a few lines over time, nothing from elsewhere. Pure."""

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
CANDIDATE: Final = "#d9480f"
LIVE: Final = "#1971c2"


def svg(plot: Plot) -> str:
    """Draw a plot; its texts are escaped."""
    box = f"0 0 {WIDTH} {HEIGHT}"
    root = ET.Element("svg", {"viewBox": box, "role": "img", "width": str(WIDTH)})
    ET.SubElement(root, "title").text = plot.title
    points = [point for series in plot.series for point in series.points]
    scale = _Scale(points)
    _axes(root, plot, scale)
    for series in plot.series:
        _line(root, series, scale, is_stepped=plot.is_stepped)
    _legend(root, plot.series)
    return ET.tostring(root, encoding="unicode")


class _Scale:
    """From numbers to places in the picture."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.first = min((point.x for point in points), default=0.0)
        self.last = max(max((point.x for point in points), default=1.0), self.first + 1e-3)
        self.top = max((point.y for point in points), default=1.0) or 1.0

    def x(self, value: float) -> float:
        """Return the place of a moment."""
        share = (value - self.first) / (self.last - self.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the place of a value."""
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def _axes(root: ET.Element, plot: Plot, scale: _Scale) -> None:
    for tick in range(TICKS + 1):
        value = scale.top * tick / TICKS
        place = scale.y(value)
        line = {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": place, "y2": place}
        ET.SubElement(root, "line", {**_texts(line), "class": "grid"})
        _text(root, LEFT - 6, place + 4, f"{value:.3g}", "end")
        moment = scale.first + (scale.last - scale.first) * tick / TICKS
        anchor = ("start", "end")[tick == TICKS] if tick in {0, TICKS} else "middle"
        _text(root, scale.x(moment), HEIGHT - BOTTOM + 16, f"{moment:,.4g} s", anchor)
    _text(root, 4, 14, f"{plot.title} ({plot.unit})", "start")


def _line(root: ET.Element, series: Series, scale: _Scale, *, is_stepped: bool) -> None:
    places = list(_places(series.points, scale, is_stepped=is_stepped))
    if not places:
        return
    look = {
        "points": " ".join(places),
        "fill": "none",
        "stroke": _colour(series),
        "stroke-width": "1.8",
    }
    if series.is_dashed:
        look["stroke-dasharray"] = "5 3"
    ET.SubElement(root, "polyline", look)
    for place in places if len(series.points) == 1 else ():
        x, _, y = place.partition(",")
        ET.SubElement(root, "circle", {"cx": x, "cy": y, "r": "2.5", "fill": _colour(series)})


def _places(points: Iterable[Point], scale: _Scale, *, is_stepped: bool) -> Iterable[str]:
    before: Point | None = None
    for point in points:
        if is_stepped and before is not None:
            yield f"{scale.x(point.x):.1f},{scale.y(before.y):.1f}"
        yield f"{scale.x(point.x):.1f},{scale.y(point.y):.1f}"
        before = point


def _legend(root: ET.Element, lines: Sequence[Series]) -> None:
    place = WIDTH - RIGHT
    for series in reversed(lines):
        name = f"{series.name}{' (dashed)' if series.is_dashed else ''}"
        node = _text(root, place, 14, name, "end")
        node.set("class", "candidate" if series.is_candidate else "live")
        place -= 7 * len(name) + 14


def _colour(series: Series) -> str:
    return CANDIDATE if series.is_candidate else LIVE


def _text(root: ET.Element, x: float, y: float, text: str, anchor: str) -> ET.Element:
    look = {**_texts({"x": x, "y": y}), "text-anchor": anchor}
    node = ET.SubElement(root, "text", look)
    node.text = text
    return node


def _texts(numbers: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.1f}" for name, value in numbers.items()}
