"""Pure: what waits, as the batches that it will become, and when each of them can begin.

A call joins the last batch of its kind that has room for it, or begins one behind all others, as
`batch_plan` will decide when their turn comes: batches of a kind fill in order of arrival, and the
kind whose oldest call came first goes first. What a kind costs that never ran is not known, and
counts as nothing: a forecast may be too early, never too late.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Generic, NamedTuple, Protocol, TypeVar


class Timed(Protocol):
    """What a forecast needs to know of a waiting call."""

    rows: int
    stack_key: Any
    deadline_ns: int
    has_grpc_deadline: bool


class Costs(Protocol):
    """What runs cost; 0: nobody knows."""

    def expected_ns(self, stack_key: Any, rows: int) -> int:  # noqa: ANN401  any hashable
        """Return how long a run will take."""

    def least_ns(self, stack_key: Any, rows: int) -> int:  # noqa: ANN401  any hashable
        """Return how long a run takes at the least."""


class Outlook(NamedTuple):
    """What a call has before it."""

    begin_ns: int
    """When its batch can begin."""
    end_ns: int
    """When its batch can have ended."""

    def misses(self, call: Timed) -> bool:
        """Whether it comes too late: to begin, or to be answered by a caller's own deadline."""
        due_ns = self.end_ns if call.has_grpc_deadline else self.begin_ns
        return 0 < call.deadline_ns <= due_ns


Call = TypeVar("Call", bound=Timed)


def outlook_behind(
    call: Timed, rows_before: int, max_rows: int, costs: Costs, free_at_ns: int
) -> Outlook:
    """Say what a call has before it where only the rows of its kind that go first are known.

    Args:
        call: It does not wait yet.
        rows_before: Rows of its own kind: those that find no room beside it run before it.
        max_rows: Rows of a batch at most; 0: every call runs alone.
        costs: What runs cost.
        free_at_ns: When the runtime can begin with what waits.
    """
    full_rows = max_rows or 1
    earlier_rows = max(0, rows_before + min(call.rows, full_rows) - full_rows)
    full_count, rest_rows = divmod(earlier_rows, full_rows)  # of rows, that costs least
    begin_ns = free_at_ns + full_count * costs.expected_ns(call.stack_key, full_rows)
    if rest_rows:
        begin_ns += costs.expected_ns(call.stack_key, rest_rows)
    return Outlook(begin_ns, begin_ns + costs.expected_ns(call.stack_key, call.rows))


class _Batch(Generic[Call]):
    """Calls that will run together."""

    __slots__ = ("calls", "expected_ns", "first_deadline_ns", "key", "least_ns", "rows")

    def __init__(self, key: Any) -> None:  # noqa: ANN401  any hashable
        self.key = key
        self.calls: list[Call] = []
        self.rows = 0
        self.expected_ns = 0
        self.least_ns = 0
        self.first_deadline_ns = 0


class Forecast(Generic[Call]):
    """The batches to come of one version's queue."""

    def __init__(self, max_rows: int, costs: Costs, waiting: Iterable[Call]) -> None:
        """Take in what waits, oldest first.

        Args:
            max_rows: Rows of a batch at most; 0: every call runs alone.
            costs: What runs cost.
            waiting: The queue.
        """
        self._max_rows = max_rows
        self._costs = costs
        self._batches: deque[_Batch[Call]] = deque()
        self._last_of_kind: dict[Any, _Batch[Call]] = {}
        self._expected_ns = 0
        for call in waiting:
            self.enter(call)

    def outlook(self, call: Call, free_at_ns: int) -> Outlook:
        """Say what a call would have before it, if it entered now.

        Args:
            call: It does not wait yet.
            free_at_ns: When the runtime can begin with what waits.
        """
        batch = self._joined(call)
        if batch is None:
            begin_ns = free_at_ns + self._expected_ns
            return Outlook(begin_ns, begin_ns + self._costs.expected_ns(call.stack_key, call.rows))
        if batch is self._batches[-1]:
            before_ns = self._expected_ns - batch.expected_ns
        else:
            others = takewhile(lambda other: other is not batch, self._batches)
            before_ns = sum(other.expected_ns for other in others)
        begin_ns = free_at_ns + before_ns
        rows = batch.rows + call.rows
        return Outlook(begin_ns, begin_ns + self._costs.expected_ns(call.stack_key, rows))

    def enter(self, call: Call) -> None:
        """Let a call wait."""
        batch = self._joined(call)
        if batch is None:
            batch = _Batch(call.stack_key)
            self._batches.append(batch)
            self._last_of_kind[call.stack_key] = batch
        batch.calls.append(call)
        batch.rows += call.rows
        cost_ns = self._costs.expected_ns(batch.key, batch.rows)
        self._expected_ns += cost_ns - batch.expected_ns
        batch.expected_ns = cost_ns
        batch.least_ns = self._costs.least_ns(batch.key, batch.rows)
        deadline_ns = call.deadline_ns
        if deadline_ns and not 0 < batch.first_deadline_ns <= deadline_ns:
            batch.first_deadline_ns = deadline_ns

    def begin(self, calls: Sequence[Call]) -> bool:
        """Take out the batch that begins; False: it is another one than was foreseen."""
        batch = self._batches[0]
        if len(batch.calls) != len(calls) or batch.calls[0] is not calls[0]:
            return False
        self._batches.popleft()
        self._expected_ns -= batch.expected_ns
        if self._last_of_kind[batch.key] is batch:
            del self._last_of_kind[batch.key]
        return True

    def hopeless(self, free_at_ns: int) -> list[tuple[Call, Outlook]]:
        """Return the calls that come too late however fast all before them runs, and why."""
        late: list[tuple[Call, Outlook]] = []
        begin_ns = free_at_ns
        for batch in self._batches:
            end_ns = begin_ns + batch.least_ns
            if 0 < batch.first_deadline_ns <= end_ns:
                outlook = Outlook(begin_ns, end_ns)
                gone = [(call, outlook) for call in batch.calls if outlook.misses(call)]
                late.extend(gone)
                if len(gone) == len(batch.calls):
                    continue  # it will not run: those behind begin in its place
                if gone:
                    return late  # what is left of it may run faster, and others may join it
            begin_ns = end_ns
        return late

    def _joined(self, call: Call) -> _Batch[Call] | None:
        batch = self._last_of_kind.get(call.stack_key)
        if batch is None or batch.rows + call.rows > self._max_rows:
            return None
        return batch
