"""Pure: which calls of which sequences may run now. Time comes in as an argument.

The calls of an id are a line, which START and END cut into sequences. What an id goes through::

                    first call (START)                  its turn
    unknown ─────────────────────────► waiting for a slot ──────► under way ─┐ one call at a time,
       ▲                                                            │    ▲   │ in order of arrival
       │ END has run · nothing came for too long · a call was lost  │    └───┘
       └────────────────────────────────────────────────────────────┘

A *lost* call was accepted and has not run: cancelled, late, or failed. The next one must not run
on a state that lacks it, so the sequence ends there; calls behind it, up to the next START, are
refused with the reason. A START while the sequence is under way begins it anew.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

Call = TypeVar("Call")
SequenceId = int | str
MAX_REMEMBERED: Final = 4096
"""Sequences that have ended, whose reason is still told."""


@dataclass(slots=True)
class Entry(Generic[Call]):
    """A call in its line."""

    call: Call
    starts: bool
    ends: bool
    broken: str = ""
    """Why the sequence ends with this call although it says nothing of that: what was behind it is
    lost."""


@dataclass(slots=True, eq=False)
class Line(Generic[Call]):
    """The calls of one id, and what is kept for them."""

    id: SequenceId
    waiting: deque[Entry[Call]] = field(default_factory=deque)
    running: Entry[Call] | None = None
    has_slot: bool = False
    is_open: bool = False
    """The last accepted call has not ended its sequence: the next one needs no START."""
    idle_since_ns: int = 0
    is_routed: bool = False
    """It began without the name of a version: its steps may come by the worker of another one."""
    state: Any = None
    """The arrays that the next call is fed with."""


@dataclass(slots=True)
class Step(Generic[Call]):
    """What is to be done now."""

    run: list[Call] = field(default_factory=list)
    refused: list[tuple[Call, str]] = field(default_factory=list)
    """Calls that will not run, with the reason."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the last sequence of an id ended."""

    reason: str
    is_lost: bool
    """By our doing or by a lost call, rather than by its END or its silence."""


class Sequences(Generic[Call]):
    """All sequences of one version on one worker."""

    def __init__(self, *, max_sequences: int, idle_ns: int) -> None:
        """Know none."""
        self._free_count = max_sequences
        self._idle_ns = idle_ns
        self._lines: dict[SequenceId, Line[Call]] = {}
        self._queue: deque[Line[Call]] = deque()
        self._idle: OrderedDict[SequenceId, Line[Call]] = OrderedDict()
        self._ended: OrderedDict[SequenceId, Ended] = OrderedDict()

    @property
    def count(self) -> int:
        """Ids that are under way or wait."""
        return len(self._lines)

    @property
    def routed(self) -> list[SequenceId]:
        """Ids of those that began without the name of a version."""
        return [line.id for line in self._lines.values() if line.is_routed]

    @property
    def next_expiry_ns(self) -> int:
        """When `expire` has something to do, unless a call comes before; 0: never."""
        oldest = next(iter(self._idle.values()), None)
        return 0 if oldest is None else oldest.idle_since_ns + self._idle_ns

    def may_enter(self, sequence: SequenceId, *, starts: bool) -> bool:
        """Whether a call fits the sequence: it begins one, or one is there to go on with."""
        line = self._lines.get(sequence)
        return starts or (line is not None and line.is_open)

    def is_routed(self, sequence: SequenceId) -> bool:
        """Whether an id that is known began without the name of a version."""
        line = self._lines.get(sequence)
        return line is not None and line.is_routed

    def ended(self, sequence: SequenceId) -> Ended | None:
        """Say how the last sequence of an id ended, if that is still known."""
        return self._ended.get(sequence)

    def enter(
        self, sequence: SequenceId, call: Call, *, starts: bool, ends: bool
    ) -> tuple[Line[Call], Step[Call]]:
        """Accept a call, which `may_enter` said is in order."""
        line = self._lines.get(sequence)
        if line is None:
            line = self._lines[sequence] = Line(sequence)
            self._queue.append(line)
        line.waiting.append(Entry(call, starts, ends))
        line.is_open = not ends
        self._idle.pop(sequence, None)
        step: Step[Call] = Step()
        self._advance(line, step)
        self._grant(step)
        return line, step

    def complete(self, line: Line[Call], now_ns: int, *, lost: str = "") -> Step[Call]:
        """Take note that a line's running call has run, or why it has not."""
        entry, line.running = line.running, None
        step: Step[Call] = Step()
        if entry is None:
            return step
        if lost:
            self._refuse_rest(line, lost, step)
            self._end(line, Ended(lost, is_lost=True), step)
        elif entry.broken:
            self._end(line, Ended(entry.broken, is_lost=True), step)
        elif entry.ends:
            self._end(line, Ended("its last call said that it ends", is_lost=False), step)
        elif line.waiting:
            self._advance(line, step)
        else:
            line.idle_since_ns = now_ns
            self._idle[line.id] = line
        return step

    def lose(self, line: Line[Call], call: Call, reason: str) -> Step[Call]:
        """Take a call out that waits in its line; what depends on it is refused."""
        step: Step[Call] = Step()
        entries = list(line.waiting)
        place = next(index for index, entry in enumerate(entries) if entry.call is call)
        lost = entries.pop(place)
        line.waiting = deque(entries)
        self._refuse_rest(line, reason, step, place)
        last = entries[place - 1] if place else line.running
        goes_on = lost.starts and len(line.waiting) > place  # with the START behind it
        if last is not None and not goes_on:
            last.broken = reason
        if not line.waiting and line.running is None:
            self._queue.remove(line)
            self._forget(line, Ended(reason, is_lost=True))
        return step

    def expire(self, now_ns: int) -> Step[Call]:
        """End the sequences that have been silent for too long."""
        step: Step[Call] = Step()
        while self._idle and self.next_expiry_ns <= now_ns:
            _, line = self._idle.popitem(last=False)
            reason = f"no call came for {self._idle_ns / 1e9:g} s (max_sequence_idle_microseconds)"
            self._end(line, Ended(reason, is_lost=False), step)
        return step

    def end_silent(self, reason: str) -> Step[Call]:
        """End every sequence that has no call at the moment: nothing will come any more."""
        step: Step[Call] = Step()
        while self._idle:
            _, line = self._idle.popitem(last=False)
            self._end(line, Ended(reason, is_lost=True), step)
        return step

    def supersede(self, sequence: SequenceId, reason: str) -> Step[Call]:
        """End an id that began anew at another worker, unless it began for this version by name."""
        step: Step[Call] = Step()
        line = self._lines.get(sequence)
        if line is None:
            self._ended.pop(sequence, None)  # how an older one ended is of no interest any more
        if line is None or not line.is_routed:
            return step
        step.refused.extend((entry.call, reason) for entry in line.waiting)
        line.waiting.clear()
        line.is_open = False
        if line.running is not None:
            line.running.broken = reason
        elif line.has_slot:
            self._idle.pop(line.id, None)
            self._end(line, Ended(reason, is_lost=False), step)
        else:
            self._queue.remove(line)
            self._forget(line, Ended(reason, is_lost=False))
        return step

    def _refuse_rest(self, line: Line[Call], reason: str, step: Step[Call], place: int = 0) -> None:
        """Refuse the calls from a place on, up to the next that begins a sequence."""
        entries = list(line.waiting)
        stop = next((i for i in range(place, len(entries)) if entries[i].starts), len(entries))
        step.refused.extend((entry.call, reason) for entry in entries[place:stop])
        line.waiting = deque((*entries[:place], *entries[stop:]))
        line.is_open = stop < len(entries) and line.is_open

    def _end(self, line: Line[Call], ended: Ended, step: Step[Call]) -> None:
        """Give the slot back; the next sequence of the same id queues for one like any other."""
        line.has_slot = False
        line.state = None
        self._free_count += 1
        if line.waiting:
            self._queue.append(line)
        else:
            self._forget(line, ended)
        self._grant(step)

    def _forget(self, line: Line[Call], ended: Ended) -> None:
        del self._lines[line.id]
        self._ended[line.id] = ended
        self._ended.move_to_end(line.id)
        if len(self._ended) > MAX_REMEMBERED:
            self._ended.popitem(last=False)

    def _grant(self, step: Step[Call]) -> None:
        while self._free_count and self._queue:
            line = self._queue.popleft()
            line.has_slot = True
            self._free_count -= 1
            self._advance(line, step)

    def _advance(self, line: Line[Call], step: Step[Call]) -> None:
        if line.has_slot and line.running is None and line.waiting:
            line.running = line.waiting.popleft()
            step.run.append(line.running.call)
