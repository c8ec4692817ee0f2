"""Watches one node for the supervisors of its workers: what changes under them, what slows them.

One look every few seconds, in a thread, of small files; workers themselves do nothing for it. In
`bascule serve` one watch serves all workers, on Ray each replica has its own.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import structlog

from runtimes.facts import NodeFacts
from runtimes.gpu_probe import Nvml, SystemNvml
from runtimes.node_load import LoadCounters, read_load
from runtimes.place import Place, now_of, read_place
from serving.clock import Clock
from serving.monitor.environment.limits import Latches, load_figures, next_latches, standing
from serving.monitor.environment.records import Condition, Surroundings

DEFAULT_LOOK_S: Final = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """What a watch looks with; a test brings its own."""

    load: Callable[[], LoadCounters] = read_load
    place: Callable[[str, Nvml | None], Place] = read_place
    nvml: Nvml | None = None
    """Where GPUs are asked for; None: there are none that a worker uses."""


def senses_for(gpus: str) -> Senses:
    """Return this node's own senses, with NVML where a worker may use a GPU.

    Args:
        gpus: As CUDA_VISIBLE_DEVICES lists them; empty: none.
    """
    return Senses(nvml=SystemNvml() if gpus else None)


@dataclass(frozen=True, slots=True)
class _Look:
    at_s: float
    load: LoadCounters = field(default_factory=LoadCounters)


class HostWatch:
    """Looks at its node; belongs to one event loop, but for `look`, which runs in a thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        look_s: float = DEFAULT_LOOK_S,
        senses: Senses | None = None,
        on_news: Callable[[], None] = lambda: None,
    ) -> None:
        """Know nothing yet; `run` looks.

        Args:
            clock: What figures are rates by.
            look_s: Between two looks.
            senses: What it looks with; this node's own if None.
            on_news: Called on the loop when a look found something new.
        """
        self._clock = clock
        self._look_s = look_s
        self._senses = senses or Senses()
        self._on_news = on_news
        self._places: dict[str, Place | None] = {}
        self._latches: Latches = MappingProxyType({})
        self._last: _Look | None = None
        self.conditions: tuple[Condition, ...] = ()
        """Those that hold now."""

    async def run(self) -> None:
        """Look for ever; a look that fails is logged, and the next one is made all the same."""
        while True:
            before = self.conditions, dict(self._places)
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # process edge: supervision must not end for it
                log.exception("host_not_looked_at")
            if (self.conditions, self._places) != before:
                self._on_news()
            await asyncio.sleep(self._look_s)

    def look(self) -> None:
        """Look once. Blocking."""
        for python in list(self._places):
            self._places[python] = self._senses.place(python, self._senses.nvml)
        now = _Look(self._clock.monotonic_s(), self._senses.load())
        if self._last is not None:
            elapsed_s = now.at_s - self._last.at_s
            figures = _figures(self._last, now, elapsed_s)
            self._latches = next_latches(self._latches, figures, elapsed_s)
            self.conditions = standing(self._latches)
        self._last = now

    def place_of(self, python: str) -> Place | None:
        """Return what an interpreter found at the latest look; it is looked at from now on."""
        return self._places.setdefault(python, None)


class WorkerView:
    """What one worker's supervisor sees around it, over all lives of the worker."""

    def __init__(self, watch: HostWatch | None) -> None:
        """Remember the watch; None: nobody looks."""
        self._watch = watch
        self._facts: NodeFacts | None = None
        self._first: Place | None = None

    def around(self, python: str, facts: NodeFacts | None) -> Surroundings | None:
        """Say what is around the worker; None: nobody looks.

        Args:
            python: Its interpreter.
            facts: As it has measured itself; None: it has not yet, in this life.
        """
        if self._watch is None:
            return None
        now = self._watch.place_of(python)
        if facts is not self._facts:
            self._facts, self._first = facts, None
        if self._first is None:
            self._first = now
        if facts is None or self._first is None or now is None:
            return Surroundings(conditions=self._watch.conditions)
        changed = now_of(facts, self._first, now)
        return Surroundings(facts=changed, conditions=self._watch.conditions)


def _figures(before: _Look, now: _Look, elapsed_s: float) -> dict[tuple[str, str], float]:
    found = load_figures(before.load, now.load, elapsed_s)
    return {(name, ""): figure for name, figure in found.items()}
