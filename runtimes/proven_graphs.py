"""Fast path. CUDA graphs, trusted once they have answered as plain runs do. Knows no engine.

A graph launches all kernels of a run at once, on the buffers with which it was captured. One is
captured for each set of input shapes, and answers nobody before it was proven::

    first call of its shapes      plain
    second                        plain; capture, and replay with the same inputs
    next with other inputs        plain; replay
    from then on                  replay

What the host reads of an input while a graph is captured (the bounds of a clip, where a slice
begins) is in the graph for good. So an input that no proof has seen with another value is answered
by the graph with that value only; with another one the run is plain once more, and a proof.

Where a capture or replay fails, or gives something else than the plain run beside it, the shapes
are run plainly for good, which is logged.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from runtimes.contract import Array
from runtimes.errors import BasculeError
from runtimes.tolerance import BITWISE, Tolerance, compare, is_float

MAX_GRAPHS: Final = 16
"""Each keeps its buffers and what the engine keeps for it: further shapes are run plainly."""
NEAR: Final = Tolerance(kind="close", rtol=1e-3, atol=1e-4)
"""A captured run may choose other algorithms, which round otherwise."""
NEAR_SHORT: Final = Tolerance(kind="close", rtol=1e-2, atol=1e-4)
"""Of two bytes: 1e-3 is less than the last bit of a bfloat16, and about that of an FP16."""

Feeds = Sequence[Array | None]
Shapes = tuple[tuple[int, ...] | None, ...]
Run = Callable[[Feeds], list[Array]]
"""Runs one batch. Raises a `BasculeError` if it fails."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """What is known of one set of shapes."""

    replay: Run | None = None
    shown: list[Array | None] = field(default_factory=list)
    """What each input was at the capture; None: it was right with something else there, too."""
    is_proven: bool = False
    """It was right on other inputs than those of the capture."""
    is_plain: bool = False

    def replay_for(self, feeds: Feeds) -> Run | None:
        """Return what may answer these inputs without a plain run beside it."""
        return self.replay if self.is_proven and _are_shown(self.shown, feeds) else None


class ProvenGraphs:
    """Runs one model, by graphs where these are proven."""

    def __init__(
        self,
        plain: Run,
        capture: Callable[[Feeds, Sequence[Array]], Run],
    ) -> None:
        """Capture nothing yet.

        Args:
            plain: Runs arrays without a graph.
            capture: Makes a graph for the shapes of these inputs and outputs, and returns what
                replays it.
        """
        self._plain = plain
        self._capture = capture
        self._known: dict[Shapes, _Known] = {}

    @property
    def proven_count(self) -> int:
        """Sets of shapes whose calls are replayed."""
        return sum(known.is_proven for known in self._known.values())

    def run(self, feeds: Feeds) -> list[Array]:
        """Run one batch.

        Raises:
            BasculeError: The plain run, or a proven graph, failed.
        """
        shapes = tuple([None if array is None else array.shape for array in feeds])
        known = self._known.get(shapes)
        if known is not None and (replay := known.replay_for(feeds)) is not None:
            return replay(feeds)
        found = self._plain(feeds)
        if known is None:
            is_empty = any(array is not None and not array.size for array in feeds)
            if len(self._known) < MAX_GRAPHS and not is_empty:
                self._known[shapes] = _Known()
        elif not known.is_plain:
            self._try(known, shapes, feeds, found)
        return found

    def close(self) -> None:
        """Drop all graphs."""
        self._known.clear()

    def _try(self, known: _Known, shapes: Shapes, feeds: Feeds, right: Sequence[Array]) -> None:
        """Capture a graph, or prove one further."""
        is_new = known.replay is None
        if not is_new and _are_shown(known.shown, feeds):
            return  # a graph that reads nothing new would be right, too
        try:
            replay = known.replay or self._capture(feeds, right)
            fault = _difference(right, replay(feeds))
        except BasculeError as error:
            fault = error.message
        else:
            known.replay = replay
        if fault:
            known.replay, known.shown, known.is_proven, known.is_plain = None, [], False, True
            log.warning("no CUDA graph for inputs of shapes %s: %s", shapes, fault)
        elif is_new:
            known.shown = [None if array is None else array.copy() for array in feeds]
        else:
            pairs = zip(known.shown, feeds, strict=True)
            known.shown = [one if _is_shown(one, other) else None for one, other in pairs]
            known.is_proven = True


def _are_shown(shown: Feeds, feeds: Feeds) -> bool:
    return all(_is_shown(one, other) for one, other in zip(shown, feeds, strict=True))


def _is_shown(one: Array | None, other: Array | None) -> bool:
    return one is None or (other is not None and np.array_equal(one, other, equal_nan=True))


def _difference(right: Sequence[Array], found: Sequence[Array]) -> str:
    """Say how answers differ; empty: they do not."""
    for number, (one, other) in enumerate(zip(right, found, strict=True)):
        compared = compare(one, other, _allowed(one))
        if not compared.holds:
            return f"output {number} is another one than a plain run's: {compared.reason}"
    return ""


def _allowed(array: Array) -> Tolerance:
    """Return how far an output of a graph may be off: whole numbers not at all."""
    if not is_float(array.dtype):
        return BITWISE
    return NEAR if array.itemsize > 2 else NEAR_SHORT  # noqa: PLR2004  bytes of a half
