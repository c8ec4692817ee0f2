"""The frontier as SVG: calls a second in time against CPUs that engines may occupy. Pure."""

import math
from typing import Final
from xml.etree import ElementTree as ET

from serving.cli.tune.records import Trial, Tuning, frontier
from serving.cli.tune.words import scheduling_text
from serving.rollout.report.plots import tick_of

WIDTH: Final = 720
HEIGHT: Final = 360
LEFT: Final = 72
RIGHT: Final = 24
TOP: Final = 44
BOTTOM: Final = 48
STYLE: Final = (
    "text{font:12px sans-serif;fill:#222}.grid{stroke:#ddd}.line{fill:none;stroke:#1f77b4}"
    ".best{fill:#1f77b4}.tried{fill:#aaa}.present{fill:none;stroke:#d62728;stroke-width:2}"
)


def svg(found: Tuning) -> str:
    """Draw what was tried; a point's scheduling is its tooltip."""
    place = _Place(found)
    box = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "width": str(WIDTH)}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **box})
    ET.SubElement(root, "style").text = STYLE
    title = f"{found.model}: calls/s with p99 of at most {found.slo_p99_s * 1e3:g} ms"
    _text(root, LEFT, 16, title, "start")
    _text(root, LEFT, 32, "blue: nothing beats it; red ring: the present scheduling", "start")
    _axes(root, place)
    edge = frontier(found.trials, found.slo_p99_s)
    spots = [(place.x(one), place.y(one)) for one in edge]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    ET.SubElement(root, "polyline", {"points": joined, "class": "line"})
    for trial in found.trials:
        kind = "best" if trial in edge else "tried"
        _dot(root, place, trial, 4.0, kind)
        if trial.scheduling == found.present:
            _dot(root, place, trial, 8.0, "present")
    return ET.tostring(root, encoding="unicode") + "\n"


class _Place:
    """From figures to places in the picture."""

    def __init__(self, found: Tuning) -> None:
        self._slo_s = found.slo_p99_s
        highest = max((one.rate(self._slo_s) for one in found.trials), default=0.0) or 1.0
        self.tick = tick_of(highest)
        self.top = self.tick * math.ceil(highest / self.tick - 1e-9)
        self.cores = max(found.cpus, *(one.scheduling.cores for one in found.trials))

    def x(self, trial: Trial) -> float:
        """Return the place of a trial's CPUs."""
        return self.x_of(trial.scheduling.cores)

    def x_of(self, cores: int) -> float:
        """Return the place of a number of CPUs."""
        return LEFT + cores / (self.cores + 1) * (WIDTH - LEFT - RIGHT)

    def y(self, trial: Trial) -> float:
        """Return the place of a trial's rate."""
        return self.y_of(trial.rate(self._slo_s))

    def y_of(self, rate: float) -> float:
        """Return the place of a rate."""
        return HEIGHT - BOTTOM - rate / self.top * (HEIGHT - TOP - BOTTOM)


def _axes(root: ET.Element, place: _Place) -> None:
    for number in range(round(place.top / place.tick) + 1):
        height = place.y_of(place.tick * number)
        line = {"x1": str(LEFT), "x2": str(WIDTH - RIGHT), "y1": f"{height:.1f}"}
        ET.SubElement(root, "line", {**line, "y2": f"{height:.1f}", "class": "grid"})
        _text(root, LEFT - 6, height + 4, f"{place.tick * number:,.6g}", "end")
    for cores in range(1, place.cores + 1, math.ceil(place.cores / 16)):
        _text(root, place.x_of(cores), HEIGHT - BOTTOM + 18, str(cores), "middle")
    _text(root, WIDTH - RIGHT, HEIGHT - 8, "workers times threads of the engine", "end")


def _dot(root: ET.Element, place: _Place, trial: Trial, radius: float, kind: str) -> None:
    where = {"cx": f"{place.x(trial):.1f}", "cy": f"{place.y(trial):.1f}", "r": str(radius)}
    dot = ET.SubElement(root, "circle", {**where, "class": kind})
    ET.SubElement(dot, "title").text = scheduling_text(trial.scheduling)


def _text(root: ET.Element, x: float, y: float, text: str, anchor: str) -> None:
    look = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    ET.SubElement(root, "text", look).text = text
