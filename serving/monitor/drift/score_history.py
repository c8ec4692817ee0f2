"""The largest score over time, in a bounded number of points: old ones grow coarse. Pure."""

from typing import Final

from serving.monitor.drift.view import ScorePoint

MAX_POINTS: Final = 240


class ScoreHistory:
    """Keeps the highest score of each stretch of time; all stretches are equally long."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._points: list[ScorePoint] = []
        self._blocks_a_point = 1
        self._blocks = 0

    def note(self, at_s: float, rows: int, score: float, feature: str) -> None:
        """Take in the score of a block."""
        point = ScorePoint(at_s=at_s, rows=rows, score=score, feature=feature)
        if self._blocks % self._blocks_a_point:
            self._points[-1] = _highest(self._points[-1], point)
        else:
            self._points.append(point)
        self._blocks += 1
        if len(self._points) > MAX_POINTS:
            pairs = zip(self._points[::2], self._points[1::2], strict=False)
            last = self._points[-1:] if len(self._points) % 2 else []
            self._points = [*(_highest(*pair) for pair in pairs), *last]
            self._blocks_a_point *= 2

    def points(self) -> tuple[ScorePoint, ...]:
        """Return them, oldest first."""
        return tuple(self._points)


def _highest(one: ScorePoint, other: ScorePoint) -> ScorePoint:
    top = one if one.score >= other.score else other
    return ScorePoint(at_s=other.at_s, rows=other.rows, score=top.score, feature=top.feature)
