"""Watches one version's answered calls: the loop's half copies, the thread's half counts.

Fast path: a batch of which no call is chosen costs one subtraction and one comparison.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from runtimes.contract import Array
from serving.monitor.drift.columns import Role
from serving.registry.version import VersionSpec
from serving.worker.drift.ring import RowRing
from serving.worker.drift.sampler import RowSampler
from serving.worker.drift.sinks import Sink
from serving.worker.executor import Ran
from serving.worker.queued import QueuedCall

MAX_TEXT: Final = 1024
"""Of longer texts the beginning is looked at."""
UNREADY_CALLS: Final = 16
"""While there is no plan yet, it is looked for after so many calls."""
NEWS: Final = 0.2
"""Weight of what a row costs now in what it is taken to cost."""
ENCODED_ROWS: Final = 1024
"""Rows that are encoded at once, at most."""


class Place(NamedTuple):
    """Where a tensor is copied from, and to."""

    slot: int
    tensor: int
    """Among the version's inputs, or its outputs."""
    size_bytes: int
    """Of a row; 0: it has texts."""
    start: int
    """Within the bytes of a row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Where a version's rows go."""

    sink: Sink
    inputs: Sequence[Place]
    outputs: Sequence[Place]
    ring: RowRing


def plan_for(sink: Sink) -> Plan:
    """Lay out the way to a sink."""
    ring = sink.slots.ring()
    places: dict[bool, list[Place]] = {False: [], True: []}
    for at, bound in enumerate(sink.slots.bound):
        place = Place(at, bound.index, ring.slots[at].size_bytes, ring.starts[at])
        places[bound.role is Role.OUTPUT].append(place)
    return Plan(sink=sink, inputs=tuple(places[False]), outputs=tuple(places[True]), ring=ring)


class VersionWatch:
    """The observer of one version (`serving.worker.tap`)."""

    def __init__(
        self,
        spec: VersionSpec,
        rate_per_s: float,
        *,
        draw: Callable[[], float] = random.random,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        thread_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        """Watch nothing before there is a plan."""
        self.spec = spec
        self._gap = 0
        self._sampler = RowSampler(rate_per_s, draw)
        self._draw = draw
        self._now_ns = now_ns
        self._thread_ns = thread_ns
        self._plan: Plan | None = None
        self.skipped_rows = 0
        """For which the ring had no room; the loop counts them."""
        self.failed_rows = 0
        """Which could not be encoded; the thread counts them."""
        self.trouble = ""

    @property
    def plan(self) -> Plan | None:
        """What rows are encoded with; None: they are not watched, or not yet."""
        return self._plan

    @property
    def row_cost_ns(self) -> float:
        """What counting a row takes a CPU; 0: none was counted yet."""
        return self._sampler.counted_ns

    def follow(self, plan: Plan) -> None:
        """Watch by a plan from now on; another thread may say so."""
        self._plan = plan

    def take(self, ran: Ran, end_ns: int) -> None:
        """Copy what was chosen of a batch."""
        del end_ns
        self._gap -= len(ran.batch)
        if self._gap < 0:
            self._choose(ran)

    def _choose(self, ran: Ran) -> None:
        batch, plan = ran.batch, self._plan
        if plan is None:
            self._gap = UNREADY_CALLS
            return
        begin_ns, chosen = self._now_ns(), 0
        place = self._gap + len(batch)
        while place < len(batch):
            if not batch[place].asked.is_copy:
                self._copy(plan, batch[place], ran.outputs[place])
                chosen += 1
            place += self._sampler.distance()
        self._gap = place - len(batch)
        self._sampler.note(chosen, begin_ns, self._now_ns())

    def _copy(self, plan: Plan, item: QueuedCall, outputs: Sequence[Array]) -> None:
        """Copy one row of a call, chosen by chance: a large request counts no more than others."""
        ring, rows = plan.ring, item.rows
        count = ring.put_count
        if count - ring.taken_count >= ring.capacity:
            self.skipped_rows += 1
            return
        part = (int(self._draw() * rows) if rows > 1 else 0, rows)
        at = count % ring.capacity
        tensors, first_mark = item.call.tensors, at * len(ring.slots)
        for place in plan.inputs:
            is_there = _put_input(ring, place, at, tensors[place.tensor], part)
            ring.is_there[first_mark + place.slot] = is_there
        for place in plan.outputs:
            is_there = _put_output(ring, place, at, outputs[place.tensor], part)
            ring.is_there[first_mark + place.slot] = is_there
        ring.put_count = count + 1

    def count_waiting(self, unix_s: Callable[[], float]) -> bool:
        """Encode rows that wait, in the thread; say whether there were any."""
        plan = self._plan
        if plan is None or not plan.ring.waiting:
            return False
        begin_ns = self._thread_ns()
        values, is_there, rows = plan.ring.take(ENCODED_ROWS)
        try:
            plan.sink.take(values, is_there, unix_s())
        except BaseException:
            self.failed_rows += rows
            raise
        self._learn_cost((self._thread_ns() - begin_ns) / rows)
        return True

    def _learn_cost(self, row_ns: float) -> None:
        """Tell the sampler what a row costs here; one look more or less is no news."""
        before_ns = self._sampler.counted_ns
        self._sampler.counted_ns = before_ns + NEWS * (row_ns - before_ns) if before_ns else row_ns


def _put_input(ring: RowRing, place: Place, at: int, tensor: Any, part: tuple[int, int]) -> bool:  # noqa: ANN401  any buffer
    """Copy a row of an input, which is bytes or an array of texts."""
    if tensor is None:
        return False
    size = place.size_bytes
    if not size:
        return _put_texts(ring, place.slot, at, tensor, part)
    row, rows = part
    if len(tensor) != size * rows:
        return False
    begin = at * ring.row_bytes + place.start
    chosen = tensor if rows == 1 else tensor[row * size : row * size + size]
    ring.bytes[begin : begin + size] = chosen
    return True


def _put_output(ring: RowRing, place: Place, at: int, output: Array, part: tuple[int, int]) -> bool:
    """Copy a row of an output."""
    size = place.size_bytes
    if not size:
        return _put_texts(ring, place.slot, at, output, part)
    row, rows = part
    if output.nbytes != size * rows or output.dtype != ring.slots[place.slot].dtype:
        return False
    begin = at * ring.row_bytes + place.start
    chosen = output if rows == 1 else output[row]
    ring.bytes[begin : begin + size] = chosen.tobytes()
    return True


def _put_texts(ring: RowRing, slot: int, at: int, texts: Array, part: tuple[int, int]) -> bool:
    row, rows = part
    count = ring.slots[slot].count
    if texts.size != count * rows:
        return False
    found = texts.reshape(-1)[row * count : row * count + count].tolist()
    ring.texts[slot][at] = [_cut(text) for text in found]
    return True


def _cut(text: str | bytes) -> str | bytes:
    """Keep little of a long text: many wait, and levels are short."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT]
