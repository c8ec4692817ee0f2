"""Sequences of any clients on a real queue: every answer is that of its own steps, in order."""

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from runtimes.errors import BasculeError, EngineError
from serving.errors import QueueFullError
from serving.worker.run_costs import RunCosts
from tests.fakes.sequence_bench import SequenceBench, StepCall

IDS = (1, 2, "three")
IDLE_S = 2.0


class DrawnCosts(RunCosts):
    """All runs are short, or none is."""

    def __init__(self, *, are_short: bool) -> None:
        super().__init__()
        self.are_short = are_short

    def is_short(self, stack_key: Any, rows: int) -> bool:  # noqa: ANN401, ARG002  the real one's
        """As was drawn."""
        return self.are_short


class Asked(StepCall):
    """A step, and what its answer has to be."""

    def __init__(
        self,
        sequence: int | str,
        value: float,
        before: "Asked | None",
        *,
        start: bool,
        end: bool,
        deadline_ns: int,
    ) -> None:
        super().__init__(sequence, value, start=start, end=end, deadline_ns=deadline_ns)
        self.value = value
        self.before = before
        """The step of its id whose state it runs on; None: it starts."""
        self.sum = value + (before.sum if before is not None else 0.0)


class AnySequences(RuleBasedStateMachine):
    """Clients that do anything, a model that fails, time, and threads."""

    @initialize(
        slots=st.integers(1, 3), are_short=st.booleans(), max_queue_rows=st.sampled_from([0, 0, 4])
    )
    def start(self, *, slots: int, are_short: bool, max_queue_rows: int) -> None:
        """Serve a version."""
        self.bench = SequenceBench(
            max_sequences=slots,
            idle_s=IDLE_S,
            max_queue_rows=max_queue_rows,
            costs=DrawnCosts(are_short=are_short),
        )
        self.accepted: list[Asked] = []
        self.refused: list[Asked] = []
        self.last: dict[int | str, Asked] = {}
        self.count = self.full_count = 0

    @rule(
        sequence=st.sampled_from(IDS),
        start=st.booleans(),
        end=st.booleans(),
        is_bad=st.integers(0, 5).map(lambda drawn: not drawn),
        span_s=st.sampled_from([0.0, 0.0, 0.0, 0.5, 3.0]),
    )
    def come(
        self, *, sequence: int | str, start: bool, end: bool, is_bad: bool, span_s: float
    ) -> None:
        """A client sends a step."""
        self.count += 1
        call = Asked(
            sequence,
            float(-self.count if is_bad else self.count),
            None if start else self.last.get(sequence),
            start=start,
            end=end,
            deadline_ns=self.bench.deadline_ns(span_s) if span_s else 0,
        )
        try:
            self.bench.submit(call)
        except QueueFullError:
            self.full_count += 1
            self.refused.append(call)
            return
        except BasculeError:
            self.refused.append(call)
            return
        self.accepted.append(call)
        self.last[sequence] = call

    def open(self) -> list[Asked]:
        """Steps that are to have an answer yet."""
        return [call for call in self.accepted if not call.answer_count and not call.is_gone]

    @precondition(lambda self: self.open())
    @rule(pick=st.integers(0))
    def leave(self, pick: int) -> None:
        """A client hangs up."""
        calls = self.open()
        self.bench.batcher.cancel(calls[pick % len(calls)])

    @rule(sequence=st.sampled_from(IDS))
    def begin_elsewhere(self, sequence: int | str) -> None:
        """The id begins anew at another worker."""
        self.bench.batcher.supersede([sequence], "w2")

    @rule()
    def turn(self) -> None:
        """The loop comes to what is ready."""
        self.bench.loop.turn()

    @precondition(lambda self: self.bench.executor.jobs)
    @rule()
    def work(self) -> None:
        """A thread runs a batch."""
        self.bench.executor.work()

    @precondition(lambda self: self.bench.executor.results)
    @rule()
    def deliver(self) -> None:
        """The loop hears of a batch that has run."""
        self.bench.executor.deliver()

    @rule(seconds=st.sampled_from([0.05, 0.6, 2.5]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.bench.loop.pass_time(seconds)

    @invariant()
    def each_answer_is_that_of_its_steps(self) -> None:
        """One at most; of the sum since START, each step of which has run."""
        ran = {value for batch in self.bench.model.batches for value in batch}
        for call in self.accepted:
            assert call.answer_count <= 1
            if isinstance(call.error, EngineError):
                assert call.value < 0
            if call.result is None:
                continue
            assert call.result == [call.sum]
            if call.before is not None:
                assert call.before.value in ran
                assert call.before.error is None
        assert not any(call.answer_count for call in self.refused)
        assert not {call.value for call in self.refused} & ran

    def teardown(self) -> None:
        """In the end everybody who stayed has an answer, and no sequence is left."""
        self.bench.finish_all()
        for _ in range(2 * len(self.accepted) + 2):  # who waits for a slot gets that of the silent
            self.bench.loop.pass_time(IDLE_S + 0.01)
            self.bench.finish_all()
        self.each_answer_is_that_of_its_steps()
        assert not self.open()
        for call in self.accepted:
            assert call.answer_count == (0 if call.is_gone else 1)
        batcher = self.bench.batcher
        assert batcher.sequence_count == batcher.queued_count == batcher.queued_rows == 0
        assert self.bench.queue_bytes.count == 0
        counted = self.bench.counted()
        assert counted.success.count + counted.fail.count == len(self.accepted) + self.full_count
        asyncio.run(batcher.idle())


TestAnySequences = AnySequences.TestCase
TestAnySequences.settings = settings(stateful_step_count=40)
