"""Pure: which waiting calls form the next batch.

The oldest call decides what may be stacked; calls that cannot be stacked with it keep their places
and one of them leads the next batch, so no kind of call blocks another for more than one batch.
Within one kind the order of arrival is kept: nothing overtakes a call that did not fit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

# Calls of other kinds that are looked past for batch-mates. Bounds the work per batch when every
# waiting call has a shape of its own.
MAX_SKIPPED: Final = 256


class Stackable(Protocol):
    """What the plan needs to know of a waiting call."""

    rows: int
    stack_key: Any
    """Calls with equal keys may run together."""
    enqueued_ns: int


Call = TypeVar("Call", bound=Stackable)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How calls of one version may run together."""

    max_rows: int
    """Rows of a batch at most; 0: the model has no batch dimension, every call runs alone."""
    preferred_rows: tuple[int, ...] = ()
    max_delay_ns: int = 0
    """How long the oldest call waits for company while the runtime is idle."""


class Plan(msgspec.Struct, Generic[Call], frozen=True):
    """What to do with the first `len(batch) + len(skipped)` calls of the queue."""

    batch: Sequence[Call]
    """Run these together; empty: wait."""
    skipped: Sequence[Call]
    """Looked past: they stay at the head of the queue, in this order."""
    wait_until_ns: int = 0
    """When to look again, if `batch` is empty and calls wait."""


def next_batch(waiting: Iterable[Call], limits: BatchLimits, now_ns: int) -> Plan[Call]:
    """Choose the next batch from a queue in order of arrival, oldest first.

    Admission has kept every single call within `max_rows`.

    Args:
        waiting: The queue.
        limits: What the version's policy says.
        now_ns: The clock by which calls were stamped.
    """
    batch: list[Call] = []
    skipped: list[Call] = []
    rows = 0
    key: Any = None
    is_full = False
    for call in waiting:
        if not batch:
            key = call.stack_key
        elif call.stack_key != key:
            skipped.append(call)
            if len(skipped) > MAX_SKIPPED:
                break
            continue
        elif rows + call.rows > limits.max_rows:
            is_full = True
            break
        batch.append(call)
        rows += call.rows
    if not batch or not (limits.preferred_rows or limits.max_delay_ns):
        return Plan(batch, skipped)
    return _by_policy(Plan(batch, skipped), limits, now_ns, is_full=is_full or bool(skipped))


def _by_policy(plan: Plan[Call], limits: BatchLimits, now_ns: int, *, is_full: bool) -> Plan[Call]:
    """Apply preferred sizes and the delay. Others waiting behind end the wait: they come next."""
    take = _preferred_count(plan.batch, limits.preferred_rows)
    if take == len(plan.batch):
        return plan
    if take:
        # What is left of the batch arrived in between what was skipped: restore that order.
        left = sorted((*plan.batch[take:], *plan.skipped), key=_arrival)
        return Plan(plan.batch[:take], left)
    oldest_ns = min(map(_arrival, plan.batch))  # a call of a lower level stands before older ones
    wait_until_ns = oldest_ns + limits.max_delay_ns
    rows = sum(call.rows for call in plan.batch)
    if is_full or rows >= limits.max_rows or now_ns >= wait_until_ns:
        return plan
    left = sorted((*plan.batch, *plan.skipped), key=_arrival)
    return Plan((), left, wait_until_ns)


def _preferred_count(batch: Sequence[Call], preferred_rows: tuple[int, ...]) -> int:
    """Return how many calls from the front make the largest preferred size; 0: none does."""
    best = 0
    rows = 0
    for count, call in enumerate(batch, start=1):
        rows += call.rows
        if rows in preferred_rows:
            best = count
    return best


def _arrival(call: Stackable) -> int:
    return call.enqueued_ns
