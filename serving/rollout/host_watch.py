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
from serving.errors import NotReadyError
from serving.lone_thread import LoneThread
from serving.monitor.environment.limits import Latches, load_figures, next_latches, standing
from serving.monitor.environment.records import Condition, Surroundings
from serving.rollout.gpu_watch import GpuWatch, IsOurs, marked_with

DEFAULT_LOOK_S: Final = 10.0
HEAR_S: Final = 1.0
"""Between two questions for errors of GPUs."""
LOOK_LIMIT_S: Final = 60.0
"""A driver may hang for ever when its GPU has failed; that is told at each look."""

log = structlog.get_logger(__name__)


def _unknown(pid: int) -> None:
    """Know no process; for senses without GPUs."""
    del pid


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """What a watch looks with; a test brings its own."""

    load: Callable[[], LoadCounters] = read_load
    place: Callable[[str, Nvml | None], Place] = read_place
    nvml: Nvml | None = None
    """Where GPUs are asked for; None: there are none that a worker uses."""
    is_ours: IsOurs = _unknown
    """Tells the processes of this instance among those that a GPU names."""


def senses_for(gpus: str, instance: str) -> Senses:
    """Return this node's own senses, with NVML where a worker may use a GPU.

    Args:
        gpus: As CUDA_VISIBLE_DEVICES lists them; empty: none.
        instance: The instance's id.
    """
    return Senses(nvml=SystemNvml() if gpus else None, is_ours=marked_with(instance))


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
        self._senses = found = senses or Senses()
        self.gpus = None if found.nvml is None else GpuWatch(found.nvml, found.is_ours)
        """None: no worker uses any."""
        self._on_news = on_news
        self._places: dict[str, Place | None] = {}
        self._latches: Latches = MappingProxyType({})
        self._last: _Look | None = None
        self.conditions: tuple[Condition, ...] = ()
        """Those that hold now."""

    async def run(self) -> None:
        """Look for ever; a look that fails is logged, and the next one is made all the same."""
        next_s = self._clock.monotonic_s()
        thread = LoneThread("what is around the workers")
        while True:
            pause_s = min(HEAR_S, self._look_s) if self.gpus else self._look_s
            try:
                now_s = self._clock.monotonic_s()
                is_due = now_s >= next_s
                gpus = self.gpus
                is_news = gpus is not None and await thread.call(gpus.hear, LOOK_LIMIT_S)
                if is_due:
                    next_s = max(next_s + self._look_s, now_s)
                    is_news = await thread.call(self._has_changed, LOOK_LIMIT_S) or is_news
                if is_news:
                    self._on_news()
            except NotReadyError as error:
                log.warning("host_does_not_answer", reason=error.message)
                pause_s = self._look_s
            except Exception:  # process edge: supervision must not end for it
                log.exception("host_not_looked_at")
            await asyncio.sleep(pause_s)

    def look(self) -> None:
        """Look once. Blocking."""
        for python in list(self._places):
            self._places[python] = self._senses.place(python, self._senses.nvml)
        now = _Look(self._clock.monotonic_s(), self._senses.load())
        if self._last is not None:
            elapsed_s = now.at_s - self._last.at_s
            figures = _figures(self._last, now, elapsed_s)
            of_gpus = {} if self.gpus is None else self.gpus.look()
            self._latches = next_latches(self._latches, figures | dict(of_gpus), elapsed_s)
            self.conditions = standing(self._latches)
        self._last = now

    def _has_changed(self) -> bool:
        before = self.conditions, dict(self._places)
        self.look()
        return (self.conditions, self._places) != before

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
        self._heard_count = 0

    def begin(self) -> None:
        """Let a new life of the worker begin: what its GPU did to the one before does not count."""
        gpus = None if self._watch is None else self._watch.gpus
        self._heard_count = 0 if gpus is None else gpus.heard_count

    def trouble(self, devices: str) -> str:
        """Say why this life of the worker cannot rely upon its GPUs; empty: it can."""
        gpus = None if self._watch is None else self._watch.gpus
        return "" if gpus is None else gpus.trouble(devices, self._heard_count)

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
        changed = None
        if facts is not None and self._first is not None and now is not None:
            changed = now_of(facts, self._first, now)
        return Surroundings(
            facts=changed,
            conditions=self._watch.conditions,
            gpu_errors=() if self._watch.gpus is None else self._watch.gpus.errors,
        )


def _figures(before: _Look, now: _Look, elapsed_s: float) -> dict[tuple[str, str], float]:
    found = load_figures(before.load, now.load, elapsed_s)
    return {(name, ""): figure for name, figure in found.items()}
