"""Fast path. A call of a sequence on its way through the batcher."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from runtimes.contract import Array
from runtimes.errors import BasculeError
from serving.worker.queued import QueuedCall
from serving.worker.sequence_stacking import SequenceId
from serving.worker.sequences import Line

UNSENT: Final = "the reply to one of its calls could not be written"


class Owner(Protocol):
    """The sequence batcher, as its calls see it."""

    @property
    def shown_count(self) -> int:
        """How many of the outputs are for clients; the state is behind them."""

    def settle(self, call: "SequencedCall", *, lost: str = "") -> None:
        """Take note that a call has run, or why it has not."""


class SequencedCall(QueuedCall):
    """A call of a sequence, as the batcher sees it: it takes the state off before its client's."""

    __slots__ = (
        "ends",
        "is_released",
        "item",
        "line",
        "owner",
        "sequence_id",
        "starts",
        "timer",
    )

    def __init__(self, owner: Owner, item: QueuedCall) -> None:
        """Read what the call says of its sequence."""
        given = item.call.parameters or {}
        self.owner = owner
        self.item = item
        self.sequence_id: SequenceId = given.get("sequence_id", 0)
        self.starts: bool = given.get("sequence_start", False)
        self.ends: bool = given.get("sequence_end", False)
        self.line: Line[SequencedCall] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.is_released = False
        self.call = item.call
        self.rows = item.rows
        self.stack_key = item.stack_key
        self.size_bytes = item.size_bytes
        self.deadline_ns = item.deadline_ns
        self.has_grpc_deadline = item.has_grpc_deadline
        self.is_gone = False

    @property
    def asked(self) -> QueuedCall:
        """The client's call."""
        return self.item

    @property
    def enqueued_ns(self) -> int:
        """When it came, which its wait counts from: not when its turn came."""
        return self.item.enqueued_ns

    @enqueued_ns.setter
    def enqueued_ns(self, _: int) -> None:
        """Let the batcher's stamp pass."""

    @property
    def transport(self) -> int:  # type: ignore[override]  # it stands for the other call
        """How that one came."""
        return self.asked.transport

    @property
    def state(self) -> Sequence[Array] | None:
        """What the call before left."""
        state: Sequence[Array] | None = None if self.line is None else self.line.state
        return state

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Keep the state, and send the rest."""
        shown_count = self.owner.shown_count
        if self.line is not None:
            self.line.state = [_own(output) for output in outputs[shown_count:]]
        is_gone = self.item.is_gone
        is_sent = not is_gone and self.item.finish(outputs[:shown_count])
        self.is_gone = is_gone
        self.owner.settle(self, lost="" if is_sent or is_gone else UNSENT)
        return is_sent

    def refusal(self) -> BasculeError | None:
        """Return what the caller was told."""
        return self.item.refusal()

    def fail(self, error: BasculeError) -> None:
        """Pass it on; the sequence ends."""
        if not self.item.is_gone:
            self.item.fail(error)
        self.owner.settle(self, lost=f"one of its calls failed: {error.message}")


def _own(array: Array) -> Array:
    """Copy a view: it would keep the whole batch's output."""
    return array if array.base is None else array.copy()
