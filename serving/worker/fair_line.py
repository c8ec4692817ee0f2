"""Calls of several clients in one line: clients take turns, by rows, whoever came first.

Start-time fair queueing: a call's turn is where its client's rows before it end, and not before
the turn of the call that was taken last. So a client that is alone is served in order of arrival,
one that comes late has not to wait for what others have piled up, and none saves up for later.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from serving.worker.queued import QueuedCall

FORGET_OVER: Final = 64
"""With more clients than twice the calls that wait and so many, those without any are forgotten."""

_NUMBERS: Final = count(1)
"""Of calls, of whatever line: one that is put back may find another line in place of its own."""

Client = bytes


class FairLine:
    """Waiting calls in the order of their turns, as the `deque` of a level."""

    __slots__ = ("_header", "_now", "_order", "_rows", "_tallest", "_turns", "_waiting")

    def __init__(self, header: bytes) -> None:
        """Start empty; a header of the calls names their clients."""
        self._header = header
        self._order: list[tuple[int, int, QueuedCall]] = []
        """(turn, number, call), sorted."""
        self._now = 0
        """The turn of the call that was taken last."""
        self._turns: dict[Client, int] = {}
        """Where each client's rows end, without those that it gave up."""
        self._waiting: dict[Client, list[int]] = {}
        """The turns of each client's calls, ascending."""
        self._rows: dict[Any, Counter[Client]] = {}
        """That wait, by kind and client."""
        self._tallest = 0

    @property
    def known_count(self) -> int:
        """Clients whose turns are remembered."""
        return len(self._turns)

    def append(self, item: QueuedCall) -> None:
        """Let a call wait for its client's turn."""
        client = item.header(self._header)
        waiting = self._waiting.setdefault(client, [])
        turn = max(self._now, self._turns.get(client, 0))
        if waiting:  # it comes after them, whatever the client gave up before them
            turn = max(turn, waiting[-1])
        waiting.append(turn)
        self._turns[client] = turn + item.rows
        self._tallest = max(self._tallest, item.rows)
        item.turn = (turn, next(_NUMBERS))
        insort(self._order, (*item.turn, item))
        self._rows.setdefault(item.stack_key, Counter())[client] += item.rows
        if len(self._turns) > 2 * len(self._order) + FORGET_OVER:
            self._turns = {name: self._turns[name] for name in self._waiting}

    def appendleft(self, item: QueuedCall) -> None:
        """Put a call back that was looked past: its turn has not been yet."""
        turn, _ = item.turn
        insort(self._order, (*item.turn, item))
        self._now = min(self._now, turn) if len(self._order) > 1 else turn
        client = item.header(self._header)
        self._waiting.setdefault(client, []).insert(0, turn)
        self._turns[client] = max(self._turns.get(client, 0), turn + item.rows)
        self._tallest = max(self._tallest, item.rows)
        self._rows.setdefault(item.stack_key, Counter())[client] += item.rows

    def popleft(self) -> QueuedCall:
        """Take the call whose turn it is."""
        self._now, _, item = self._order.pop(0)
        self._forget(item)
        return item

    def remove(self, item: QueuedCall) -> None:
        """Take a waiting call out; its client's other calls keep their turns."""
        del self._order[next(at for at, entry in enumerate(self._order) if entry[2] is item)]
        self._forget(item)
        client = item.header(self._header)
        if client in self._turns:  # who gives calls up is not served later for them
            self._turns[client] -= item.rows

    def clear(self) -> None:
        """Take all calls out, and forget who had how much."""
        self._order.clear()
        self._turns.clear()
        self._waiting.clear()
        self._rows.clear()
        self._now = 0

    def rows_before(self, item: QueuedCall) -> int:
        """Count the rows of a call's kind that go first, whatever comes; rather less."""
        rows = self._rows.get(item.stack_key)
        if rows is None:
            return 0
        own = rows[item.header(self._header)]
        # Another's first turn may lie ahead by the rows of the call that it took last.
        others = max(0, own - self._tallest)
        return own + sum(min(waiting, others) for waiting in rows.values()) - min(own, others)

    def __len__(self) -> int:
        """Count the waiting calls."""
        return len(self._order)

    def __contains__(self, item: QueuedCall) -> bool:
        """Whether a call waits."""
        return any(entry[2] is item for entry in self._order)

    def __iter__(self) -> Iterator[QueuedCall]:
        """Give the waiting calls in the order of their turns."""
        for _, _, item in self._order:
            yield item

    def _forget(self, item: QueuedCall) -> None:
        client = item.header(self._header)
        waiting = self._waiting[client]
        waiting.remove(item.turn[0])
        if not waiting:
            del self._waiting[client]
        rows = self._rows[item.stack_key]
        rows[client] -= item.rows
        if rows[client] <= 0:
            del rows[client]
            if not rows:
                del self._rows[item.stack_key]
