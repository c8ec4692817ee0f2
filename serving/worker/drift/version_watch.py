"""Watches one version's answered calls: the loop's half copies, the thread's half counts.

Fast path: a batch of which no call is chosen costs one subtraction and one comparison.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from runtimes.contract import Array
from serving.monitor.drift.columns import Role
from serving.registry.version import VersionSpec
from serving.worker.drift.placing import Put, put_input, put_output
from serving.worker.drift.ring import RowRing
from serving.worker.drift.sampler import RowSampler
from serving.worker.drift.sinks import Sink
from serving.worker.executor import Ran
from serving.worker.queued import QueuedCall

UNREADY_CALLS: Final = 16
"""While there is no plan yet, it is looked for after so many calls."""
NEWS: Final = 0.2
"""Weight of what a row costs now in what it is taken to cost."""
ENCODED_ROWS: Final = 1024
"""Rows that are encoded at once, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Where a version's rows go."""

    sink: Sink
    ring: RowRing
    inputs: Sequence[tuple[int, Put]]
    """(place among the version's inputs, what copies a row from there) …"""
    outputs: Sequence[tuple[int, Put]]
    """The same of its outputs."""


def plan_for(sink: Sink) -> Plan:
    """Lay out the way to a sink."""
    ring = sink.slots.ring()
    inputs, outputs = [], []
    for slot, bound in enumerate(sink.slots.bound):
        if bound.role is Role.OUTPUT:
            outputs.append((bound.index, put_output(ring, slot)))
        else:
            inputs.append((bound.index, put_input(ring, slot)))
    return Plan(sink=sink, ring=ring, inputs=tuple(inputs), outputs=tuple(outputs))


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
        begin_ns, chosen, count = self._now_ns(), 0, len(batch)
        place = self._gap + count
        while place < count:
            item = batch[place]
            if not item.asked.is_copy:
                self._copy(plan, item, ran.outputs[place])
                chosen += 1
            place += self._sampler.distance()
        self._gap = place - count
        self._sampler.note(chosen, begin_ns, self._now_ns())

    def _copy(self, plan: Plan, item: QueuedCall, outputs: Sequence[Array]) -> None:
        """Copy one row of a call, chosen by chance: a large request counts no more than others."""
        ring, rows = plan.ring, item.rows
        count = ring.put_count
        if count - ring.taken_count >= ring.capacity:
            self.skipped_rows += 1
            return
        row = int(self._draw() * rows) if rows > 1 else 0
        at = count % ring.capacity
        tensors = item.call.tensors
        for index, put in plan.inputs:
            put(tensors[index], row, rows, at)
        for index, put in plan.outputs:
            put(outputs[index], row, rows, at)
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
