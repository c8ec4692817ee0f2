"""A batcher in simulated time: calls come at their moments, runs take what they cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.errors import BasculeError
from serving.registry.version import PriorityPolicy
from serving.worker.executor import Job
from serving.worker.run_costs import RunCosts
from tests.fakes.batching import Bench, DoublingModel, HeldCall

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A call to come."""

    at_ms: int
    rows: int = 1
    kind: str = "a"
    span_ms: float = 0.0
    """From then to its deadline; 0: it has none."""
    is_callers: bool = False
    """The deadline is its caller's own, by which it is to be answered."""
    priority: int = 0
    client: str = ""


@dataclass(slots=True)
class Fate:
    """What became of a call, in milliseconds of simulated time."""

    begun_ms: float = -1.0
    ended_ms: float = -1.0
    told_ms: float = -1.0
    error: BasculeError | None = None
    was_refused: bool = False
    """It could not enter."""


class ExactCosts(RunCosts):
    """Knows what runs cost, and learns nothing."""

    def __init__(self, cost_ms: Callable[[int], int]) -> None:
        super().__init__()
        self.cost_ms = cost_ms

    def is_short(self, stack_key: Any, rows: int) -> bool:  # noqa: ANN401, ARG002  the real one's
        """No run is."""
        return False

    def expected_ns(self, stack_key: Any, rows: int) -> int:  # noqa: ANN401, ARG002  as above
        """Return what it will cost."""
        return self.cost_ms(rows) * NS_PER_MS

    least_ns = expected_ns

    def learn(self, stack_key: Any, rows: int, cost_ns: float) -> None:  # noqa: ANN401  as above
        """It is known."""


class TimedModel(DoublingModel):
    """Takes its time, and notes whose rows it ran when."""

    def __init__(self, cost_ms: Callable[[int], int]) -> None:
        super().__init__()
        self.cost_ms = cost_ms
        self.bench: Bench | None = None
        self.runs: list[tuple[int, int, frozenset[float]]] = []

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """Run a batch: the clock is later then."""
        assert self.bench is not None
        loop = self.bench.loop
        begun_ns = loop.now_ns
        loop.now_ns += self.cost_ms(len(feeds[0])) * NS_PER_MS
        names = frozenset(feeds[0].ravel().tolist())
        self.runs.append((begun_ns, loop.now_ns, names))
        return super().run(feeds)


class SimulatedCall(HeldCall):
    """A call that knows when it heard of its end."""

    def __init__(self, name: int, arrival: Arrival, bench: Bench) -> None:
        now_ns = bench.loop.now_ns
        super().__init__(
            *([float(name)] * arrival.rows),
            key=arrival.kind,
            deadline_ns=now_ns + int(arrival.span_ms * NS_PER_MS) if arrival.span_ms else 0,
            priority=arrival.priority,
            client=arrival.client,
        )
        self.has_grpc_deadline = arrival.is_callers
        self.bench = bench
        self.told_ns = 0

    def fail(self, error: BasculeError) -> None:
        """Keep the error, and when it came."""
        super().fail(error)
        self.told_ns = self.bench.loop.now_ns


class Simulation:
    """A batcher, and calls that come to it."""

    def __init__(self, arrivals: Sequence[Arrival], bench: Bench, model: TimedModel) -> None:
        self.arrivals = arrivals
        self.bench = bench
        self.model = model
        self.start_ns = bench.loop.now_ns
        self.calls: list[SimulatedCall] = []
        self.fates = [Fate() for _ in arrivals]

    def run(self) -> None:
        """Go on until all have come, and nothing runs."""
        jobs = self.bench.executor.jobs
        while len(self.calls) < len(self.arrivals) or jobs:
            if jobs:
                self._work(jobs.popleft())
            else:
                self._come_until(self._next_ns() + 1)
            self.bench.loop.turn()

    def _work(self, job: Job[Any]) -> None:
        """Run a batch, while other calls come."""
        loop = self.bench.loop
        begun_ns = loop.now_ns
        result = job.work(2)
        end_ns, loop.now_ns = loop.now_ns, begun_ns
        self._come_until(end_ns)
        following = job.following()
        if following is not None:
            self.bench.executor.jobs.append(following)
        job.done(result, following is not None)

    def _next_ns(self) -> int:
        return self.start_ns + self.arrivals[len(self.calls)].at_ms * NS_PER_MS

    def _come_until(self, end_ns: int) -> None:
        while len(self.calls) < len(self.arrivals) and (at_ns := self._next_ns()) < end_ns:
            self._wait_until(at_ns)
            name = len(self.calls)
            call = SimulatedCall(name, self.arrivals[name], self.bench)
            self.calls.append(call)
            try:
                self.bench.submit(call)
            except BasculeError as error:
                call.fail(error)
                self.fates[name].was_refused = True
        self._wait_until(end_ns)

    def _wait_until(self, at_ns: int) -> None:
        self.bench.loop.pass_time(max(0, at_ns - self.bench.loop.now_ns) / 1e9)

    def told(self) -> list[Fate]:
        """Return what became of the calls."""
        for name, (call, fate) in enumerate(zip(self.calls, self.fates, strict=True)):
            fate.error = call.error
            fate.told_ms = (call.told_ns - self.start_ns) / NS_PER_MS
            for begun_ns, ended_ns, names in self.model.runs:
                if name in names:
                    fate.begun_ms = (begun_ns - self.start_ns) / NS_PER_MS
                    fate.ended_ms = (ended_ns - self.start_ns) / NS_PER_MS
        return self.fates


def simulate(
    arrivals: Sequence[Arrival],
    *,
    cost_ms: Callable[[int], int],
    costs: RunCosts | None = None,
    max_rows: int = 4,
    priorities: PriorityPolicy | None = None,
) -> list[Fate]:
    """Let calls come, in order of time, until all have their answers.

    Args:
        arrivals: What comes.
        cost_ms: What a run of so many rows takes.
        costs: What the batcher believes; by default it knows.
        max_rows: Of a batch.
        priorities: The queue's levels.
    """
    model = TimedModel(cost_ms)
    bench = Bench(
        max_rows=max_rows, model=model, costs=costs or ExactCosts(cost_ms), priorities=priorities
    )
    model.bench = bench
    simulation = Simulation(arrivals, bench, model)
    simulation.run()
    return simulation.told()
