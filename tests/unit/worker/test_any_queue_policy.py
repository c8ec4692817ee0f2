"""A queue of any policy under any traffic: every promise that does not depend on the policy."""

from collections.abc import Sequence
from dataclasses import dataclass
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

from runtimes.errors import EngineError
from serving.errors import DeadlineError, QueueFullError, QueueTimeoutError
from serving.registry.version import LevelPolicy, PriorityPolicy, TimeoutAction
from serving.worker.batcher import MIN_TIMER_S
from serving.worker.run_costs import RunCosts
from tests.fakes.batching import NS_PER_S, Bench, DoublingModel, HeldCall

MAX_ROWS = 4
KINDS = "ab"


class DrawnCosts(RunCosts):
    """Runs of few rows are short; others cost what was drawn, and nothing is learnt."""

    def __init__(self, short_rows: int, cost_ns: int) -> None:
        super().__init__()
        self.short_rows = short_rows
        self.cost_ns = cost_ns

    def is_short(self, stack_key: Any, rows: int) -> bool:  # noqa: ANN401, ARG002  the real one's
        """By rows alone."""
        return rows <= self.short_rows

    def expected_ns(self, stack_key: Any, rows: int) -> int:  # noqa: ANN401, ARG002  as above
        """Say what a run takes, or nothing: a guess that is not what runs take."""
        return self.cost_ns

    least_ns = expected_ns

    def learn(self, stack_key: Any, rows: int, cost_ns: float) -> None:  # noqa: ANN401  as above
        """It was drawn."""


class SlowModel(DoublingModel):
    """Time passes while it runs."""

    def __init__(self, run_ns: int) -> None:
        super().__init__()
        self.run_ns = run_ns
        self.bench: Bench | None = None

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """Run a batch."""
        assert self.bench is not None
        self.bench.loop.now_ns += self.run_ns
        return super().run(feeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a version's configuration may say of its queue, and how it behaves."""

    preferred_rows: tuple[int, ...]
    delay_s: float
    max_queue_rows: int
    max_queue_calls: int
    priorities: PriorityPolicy | None
    short_rows: int
    cost_ns: int
    run_ns: int

    @property
    def keeps_order(self) -> bool:
        """Whether calls of a kind run in the order in which they came."""
        return self.priorities is None


LEVEL = st.builds(
    LevelPolicy,
    timeout_action=st.sampled_from(TimeoutAction),
    default_timeout_s=st.sampled_from([0.0, 0.5, 2.0]),
    may_override=st.booleans(),
    max_calls=st.sampled_from([0, 0, 2]),
)
PRIORITIES = st.builds(
    PriorityPolicy,
    level_count=st.just(3),
    default_level=st.integers(1, 3),
    default=LEVEL,
    special=st.lists(st.tuples(st.integers(1, 3), LEVEL), max_size=2).map(tuple),
    client_header=st.sampled_from(["", "client"]),
    ageing_s=st.sampled_from([0.0, 0.3]),
)
COSTS_NS = st.sampled_from([0, 1_000, 300_000_000, 1_500_000_000])
POLICIES = st.builds(
    Policy,
    preferred_rows=st.sampled_from([(), (), (2,), (2, 3)]),
    delay_s=st.sampled_from([0.0, 0.0, 0.5]),
    max_queue_rows=st.sampled_from([0, 6]),
    max_queue_calls=st.sampled_from([0, 0, 5]),
    priorities=st.none() | PRIORITIES,
    short_rows=st.integers(0, MAX_ROWS),
    cost_ns=COSTS_NS,
    run_ns=COSTS_NS,
)


class AnyQueue(RuleBasedStateMachine):
    """Calls of all kinds, levels and clients come and leave; time passes, threads work."""

    @initialize(policy=POLICIES)
    def start(self, policy: Policy) -> None:
        """Serve a version with that policy."""
        self.policy = policy
        self.model = SlowModel(policy.run_ns)
        self.bench = Bench(
            max_rows=MAX_ROWS,
            preferred_rows=policy.preferred_rows,
            max_delay_s=policy.delay_s,
            max_queue_rows=policy.max_queue_rows,
            max_queue_calls=policy.max_queue_calls,
            max_queue_bytes=64,
            priorities=policy.priorities,
            model=self.model,
            costs=DrawnCosts(policy.short_rows, policy.cost_ns),
        )
        self.model.bench = self.bench
        self.asked_count = 0
        self.kinds: dict[float, str] = {}
        self.accepted: list[HeldCall] = []
        self.refused: list[HeldCall] = []
        self.begun: set[HeldCall] = set()
        """Known to be with the model: their time was over, and nobody refused them."""

    @rule(
        rows=st.integers(1, MAX_ROWS),
        kind=st.sampled_from(KINDS),
        is_bad=st.integers(0, 5).map(lambda drawn: not drawn),
        span_s=st.sampled_from([0.0, 0.0, 0.2, 1.0, 3.0]),
        is_callers=st.booleans(),
        priority=st.integers(0, 4),
        client=st.sampled_from("xyz"),
    )
    def come(  # noqa: PLR0913  all that a call may say
        self,
        *,
        rows: int,
        kind: str,
        is_bad: bool,
        span_s: float,
        is_callers: bool,
        priority: int,
        client: str,
    ) -> None:
        """A client calls."""
        self.asked_count += 1
        value = float(-self.asked_count if is_bad else self.asked_count)
        self.kinds[value] = kind
        deadline_ns = self.bench.loop.now_ns + int(span_s * NS_PER_S)
        call = HeldCall(
            *[value] * rows,
            key=kind,
            deadline_ns=deadline_ns if span_s and is_callers else 0,
            priority=priority,
            timeout_s=0.0 if is_callers else span_s,
            client=client,
        )
        if span_s and self.policy.priorities is None:
            call.deadline_ns = deadline_ns
        call.has_grpc_deadline = is_callers
        try:
            self.bench.submit(call)
        except (QueueFullError, QueueTimeoutError, DeadlineError):
            self.refused.append(call)
        else:
            self.accepted.append(call)

    def open(self) -> list[HeldCall]:
        """Calls that are to have an answer yet."""
        return [call for call in self.accepted if not call.answer_count and not call.is_gone]

    @precondition(lambda self: self.open())
    @rule(pick=st.integers(0))
    def leave(self, pick: int) -> None:
        """A client hangs up."""
        calls = self.open()
        self.bench.batcher.cancel(calls[pick % len(calls)])

    @rule()
    def turn(self) -> None:
        """The loop comes to what is ready; unless calls may be kept for company, none waits."""
        self.bench.loop.turn()
        executor = self.bench.executor
        if not self.policy.delay_s and not executor.jobs and not executor.results:
            assert self.bench.batcher.queued_count == 0

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

    @rule(seconds=st.sampled_from([0.05, 0.4, 1.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: what waited too long was told so, and what was not will not be."""
        self.bench.loop.pass_time(seconds)
        over_ns = self.bench.loop.now_ns - 2 * int(MIN_TIMER_S * NS_PER_S)
        late = [call for call in self.open() if 0 < call.deadline_ns <= over_ns]
        assert self.bench.executor.jobs or self.bench.executor.results or not late
        self.begun.update(late)

    @invariant()
    def nobody_hears_twice(self) -> None:
        """At most one answer, none to who left or was refused, and each of a call's own rows."""
        for call in self.accepted:
            assert call.answer_count <= 1
            values = call_values(call)
            if call.result is not None:
                assert call.result == [2 * value for value in values]
            if isinstance(call.error, EngineError):
                assert values[0] < 0
            if call in self.begun:
                assert not isinstance(call.error, QueueTimeoutError | DeadlineError)
        assert not any(call.answer_count for call in self.refused)

    @invariant()
    def batches_are_of_one_kind(self) -> None:
        """And within their rows."""
        for batch in self.model.batches:
            assert len(batch) <= MAX_ROWS
            assert len({self.kinds[value] for value in batch}) == 1

    @invariant()
    def what_waits_is_counted(self) -> None:
        """Rows and bytes of what waits, which bounds are about."""
        assert self.bench.queue_bytes.count == 4 * self.bench.batcher.queued_rows

    def teardown(self) -> None:
        """In the end everybody who stayed has an answer, and everything is counted once."""
        self.bench.finish_all()
        while self.bench.batcher.queued_count:
            before = self.bench.batcher.queued_count
            self.bench.loop.pass_time(self.policy.delay_s + 0.01)
            self.bench.finish_all()
            assert self.bench.batcher.queued_count < before
        self.nobody_hears_twice()
        assert not self.open()
        for call in self.accepted:
            assert call.answer_count == (0 if call.is_gone else 1)
        assert self.bench.batcher.queued_rows == self.bench.queue_bytes.count == 0
        counted = self.bench.counted()
        assert counted.success.count + counted.fail.count == self.asked_count
        ran = list(dict.fromkeys(value for batch in self.model.batches for value in batch))
        assert not {call_values(call)[0] for call in self.refused} & set(ran)
        for kind in KINDS if self.policy.keeps_order else "":
            came = [abs(value) for value in ran if self.kinds[value] == kind]
            assert came == sorted(came)


def call_values(call: HeldCall) -> list[float]:
    """Return the rows that a call brought."""
    (raw,) = call.call.tensors
    return memoryview(raw).cast("f").tolist()


TestAnyQueue = AnyQueue.TestCase
TestAnyQueue.settings = settings(stateful_step_count=40)
