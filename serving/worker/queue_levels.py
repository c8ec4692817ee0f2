"""A queue with priorities: lower levels first, order of arrival within each, late calls last in it.

Where the policy has clients take turns, their turns are the order in which a level's calls are due.

It takes the place of the plain queue of a version whose policy has priority levels, or delays what
waited too long; the batcher uses both alike. Where a call goes and when it is late is decided by
two pure functions. A level that always has calls is served before a higher one whatever that one
has waited, unless the policy lets calls age: they go up a level then, as the last that came to it,
and count as one of it.
"""

from bisect import insort
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, Final, NamedTuple

from runtimes.errors import BasculeError
from serving.errors import QueueFullError
from serving.registry.version import LevelPolicy, PriorityPolicy, TimeoutAction
from serving.worker.fair_line import FairLine
from serving.worker.queued import QueuedCall

NS_PER_S: Final = 1_000_000_000
LATE: Final = -1
"""`QueuedCall.delay_at_ns` of a call that was put behind those on time."""


class Times(NamedTuple):
    """When a waiting call is refused, and when it is put behind the others; 0: never."""

    refuse_at_ns: int
    delay_at_ns: int


def level_of(policy: PriorityPolicy, priority: int) -> int:
    """Return the level of a call that asks for a priority; 0, or an unknown one: the default."""
    return priority if 1 <= priority <= policy.level_count else policy.default_level


def times_of(policy: LevelPolicy, asked_ns: int, now_ns: int) -> Times:
    """Say when a call that enters now has waited too long.

    Args:
        policy: Of its level.
        asked_ns: The call's own limit of time in the queue; 0: none.
        now_ns: The clock.
    """
    default_ns = int(policy.default_timeout_s * NS_PER_S)
    shorter_ns = min(asked_ns or default_ns, default_ns or asked_ns)
    if policy.timeout_action is TimeoutAction.REJECT:
        return Times(_after(now_ns, shorter_ns), 0)
    if policy.may_override:
        return Times(0, _after(now_ns, shorter_ns))
    return Times(_after(now_ns, asked_ns), _after(now_ns, default_ns))


class _Level:
    """The waiting calls of one level."""

    __slots__ = ("late", "on_time", "rows_of_kind")

    def __init__(self, client_header: str) -> None:
        fair = FairLine(client_header.encode()) if client_header else None
        self.on_time: deque[QueuedCall] | FairLine = deque() if fair is None else fair
        self.late: deque[QueuedCall] = deque()
        self.rows_of_kind: Counter[Any] = Counter()
        """By `stack_key`, which callers choose: only of calls that wait."""

    def __len__(self) -> int:
        return len(self.on_time) + len(self.late)

    def rows_before(self, item: QueuedCall) -> int:
        """Count the rows of a kind that go before one more call on time; rather less."""
        if isinstance(self.on_time, FairLine):
            return self.on_time.rows_before(item)
        return 0 if self.late else self.rows_of_kind[item.stack_key]

    def of(self, item: QueuedCall) -> deque[QueuedCall] | FairLine:
        """Return the part that a call belongs to."""
        return self.late if item.delay_at_ns == LATE else self.on_time

    def forget(self, item: QueuedCall) -> None:
        """Count a call no more that was taken out."""
        rows = self.rows_of_kind
        rows[item.stack_key] -= item.rows
        if rows[item.stack_key] <= 0:
            del rows[item.stack_key]


class LevelQueue:
    """The waiting calls of all levels, with the methods of a `deque` that a batcher needs."""

    __slots__ = (
        "_ageing_ns",
        "_count",
        "_levels",
        "_next_delay_ns",
        "_next_rise_ns",
        "_order",
        "_policy",
        "_special",
    )

    def __init__(self, policy: PriorityPolicy) -> None:
        """Start empty."""
        self._policy = policy
        self._special = dict(policy.special)
        self._levels: dict[int, _Level] = {}
        self._order: list[int] = []
        self._count = 0
        self._ageing_ns = int(policy.ageing_s * NS_PER_S)
        self._next_delay_ns = 0
        self._next_rise_ns = 0

    def admit(self, item: QueuedCall, now_ns: int) -> BasculeError | None:
        """Give a call its level and its times; return why it may not enter, or None."""
        item.level = level_of(self._policy, item.call.priority)
        item.delay_at_ns = 0
        item.rise_at_ns = now_ns + self._ageing_ns if self._ageing_ns and item.level > 1 else 0
        policy = self._special.get(item.level, self._policy.default)
        waiting = len(self._levels.get(item.level, ()))
        if policy.max_calls and waiting >= policy.max_calls:
            return QueueFullError(
                f"Exceeds maximum queue size: {waiting} of {policy.max_calls} calls of priority "
                f"level {item.level} wait; nothing was executed, retry later"
            )
        times = times_of(policy, int(item.call.timeout_s * NS_PER_S), now_ns)
        item.delay_at_ns = times.delay_at_ns
        if times.refuse_at_ns and not 0 < item.deadline_ns <= times.refuse_at_ns:
            item.deadline_ns = times.refuse_at_ns
            item.has_grpc_deadline = False
        return None

    def rows_before(self, item: QueuedCall) -> int:
        """Count the rows of an admitted call's kind that go first, whatever comes; rather less."""
        rows = 0
        for number in self._order:
            # One that goes up among clients that take turns may come before those above it.
            is_open = self._ageing_ns and self._policy.client_header and number < item.level
            if number > item.level or is_open:
                break
            level = self._levels[number]
            is_own = number == item.level
            rows += level.rows_before(item) if is_own else level.rows_of_kind[item.stack_key]
        return rows

    def delay_late(self, now_ns: int) -> None:
        """Put what waited too long behind the calls of its level that are on time."""
        if not 0 < self._next_delay_ns <= now_ns:
            return
        self._next_delay_ns = 0
        for level in self._levels.values():
            waiting = tuple(level.on_time)
            level.on_time.clear()
            for item in waiting:
                if 0 < item.delay_at_ns <= now_ns:
                    item.delay_at_ns = LATE
                else:
                    self._watch(item)
                level.of(item).append(item)

    def raise_aged(self, now_ns: int) -> None:
        """Put what has waited for long into the level above its own."""
        if not 0 < self._next_rise_ns <= now_ns:
            return
        self._next_rise_ns = 0
        aged: list[tuple[int, int, QueuedCall]] = []
        for item in self:
            if not 0 < item.rise_at_ns <= now_ns:
                self._watch(item)
                continue
            steps = min(item.level - 1, 1 + (now_ns - item.rise_at_ns) // self._ageing_ns)
            aged.append((item.rise_at_ns + (steps - 1) * self._ageing_ns, steps, item))
        if not aged:
            return
        rising = {id(item) for _, _, item in aged}
        staying = [item for item in self if id(item) not in rising]
        self.clear()  # one by one each would be looked for
        self.extend(staying)
        for came_ns, steps, item in sorted(aged, key=itemgetter(0)):
            item.level -= steps
            item.rise_at_ns = came_ns + self._ageing_ns if item.level > 1 else 0
            self.append(item)

    def append(self, item: QueuedCall) -> None:
        """Let an admitted call wait, as the last of its level."""
        level = self._level(item)
        level.of(item).append(item)
        level.rows_of_kind[item.stack_key] += item.rows
        self._count += 1
        self._watch(item)

    def extend(self, items: Iterable[QueuedCall]) -> None:
        """Let calls wait, each as the last of its level."""
        for item in items:
            self.append(item)

    def extendleft(self, items: Iterable[QueuedCall]) -> None:
        """Put calls back that were taken, each as the first of its level."""
        for item in items:
            level = self._level(item)
            level.of(item).appendleft(item)
            level.rows_of_kind[item.stack_key] += item.rows
            self._count += 1
            self._watch(item)

    def popleft(self) -> QueuedCall:
        """Take the first call: of the lowest level, on time before late."""
        number = self._order[0]
        level = self._levels[number]
        item = (level.on_time or level.late).popleft()
        level.forget(item)
        self._count -= 1
        self._drop_empty(number, level)
        return item

    def remove(self, item: QueuedCall) -> None:
        """Take a waiting call out."""
        level = self._levels[item.level]
        level.of(item).remove(item)
        level.forget(item)
        self._count -= 1
        self._drop_empty(item.level, level)

    def clear(self) -> None:
        """Take all calls out."""
        self._levels.clear()
        self._order.clear()
        self._count = 0
        self._next_delay_ns = 0
        self._next_rise_ns = 0

    def __len__(self) -> int:
        """Count the waiting calls."""
        return self._count

    def __contains__(self, item: QueuedCall) -> bool:
        """Whether a call waits."""
        # A call that was refused has no level.
        level = self._levels.get(getattr(item, "level", 0))
        return level is not None and item in level.of(item)

    def __iter__(self) -> Iterator[QueuedCall]:
        """Give the waiting calls in the order in which they are due."""
        for number in self._order:
            level = self._levels[number]
            yield from level.on_time
            yield from level.late

    def _level(self, item: QueuedCall) -> _Level:
        level = self._levels.get(item.level)
        if level is None:
            level = self._levels[item.level] = _Level(self._policy.client_header)
            insort(self._order, item.level)
        return level

    def _drop_empty(self, number: int, level: _Level) -> None:
        """Levels are made when a call needs one: callers choose among 2^64."""
        if not level:
            del self._levels[number]
            self._order.remove(number)

    def _watch(self, item: QueuedCall) -> None:
        due_ns = item.delay_at_ns
        if due_ns > 0 and not 0 < self._next_delay_ns <= due_ns:
            self._next_delay_ns = due_ns
        rise_ns = item.rise_at_ns
        if rise_ns and not 0 < self._next_rise_ns <= rise_ns:
            self._next_rise_ns = rise_ns


def _after(now_ns: int, span_ns: int) -> int:
    return now_ns + span_ns if span_ns else 0
