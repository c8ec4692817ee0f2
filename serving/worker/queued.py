"""Fast path. A call on its way through the worker: what the batcher sees of it, and of all.

The listener's exchanges are the real ones: they know the connection, and how to write a reply.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from runtimes.contract import Array
from runtimes.errors import BasculeError
from serving.monitor.stages import HTTP
from serving.wire.call import InferCall


class QueuedCall(ABC):
    """One call. It is finished or failed exactly once, on the loop, unless it was cancelled."""

    __slots__ = (
        "call",
        "deadline_ns",
        "delay_at_ns",
        "enqueued_ns",
        "has_grpc_deadline",
        "is_gone",
        "level",
        "rise_at_ns",
        "rows",
        "size_bytes",
        "stack_key",
        "turn",
    )

    call: InferCall
    rows: int
    stack_key: Any
    size_bytes: int
    """Bytes that it holds while it waits."""
    enqueued_ns: int
    deadline_ns: int
    """When it is too late to begin; 0: never."""
    has_grpc_deadline: bool
    """Whether `deadline_ns` is the caller's deadline rather than a limit of the queue."""
    level: int
    """Priority level; set only where the version has levels, as is `delay_at_ns`."""
    delay_at_ns: int
    """When it goes behind the calls of its level that are on time; 0: never."""
    rise_at_ns: int
    """When it goes up a level; 0: never."""
    turn: tuple[int, int]
    """Among clients that take turns: when it is due, and its number; set where they do."""
    is_gone: bool
    """The client left: nobody wants the result."""
    prediction_id: str
    """What its reply calls it; empty: it is not kept. Set only where the version's predictions are
    logged, and only once the reply was made."""
    is_judged = False
    """Whether a contract holds for it: it is a client's."""
    is_copy = False
    """Of another version's call, to be compared: no client asked."""
    transport = HTTP
    """How it came: an index of `serving.monitor.stages.TRANSPORTS`."""

    @property
    def is_routed(self) -> bool:
        """Whether it came from a client that named no version: the edge chose it."""
        return False

    @property
    def is_handed_on(self) -> bool:
        """Whether the worker of another version handed it on."""
        return False

    @property
    def is_private(self) -> bool:
        """Whether it is a step of an ensemble that keeps less than everything: it is not logged."""
        asked = self.asked
        return False if asked is self else asked.is_private

    @abstractmethod
    def finish(self, outputs: Sequence[Array]) -> bool:
        """Take the result: one array per output of the model, with this call's rows only.

        Returns:
            Whether it could be sent; if not, the call has been failed with the reason.
        """

    @property
    def asked(self) -> "QueuedCall":
        """The caller's own call: another one where this stands in a queue in its place."""
        return self

    def header(self, name: bytes) -> bytes:
        """Return a header, or a gRPC call's metadata, as its client sent it; empty: it did not."""
        asked = self.asked
        return b"" if asked is self else asked.header(name)

    def refusal(self) -> BasculeError | None:
        """Return what the caller was told when the result could not be sent; None: not known."""
        return None

    @abstractmethod
    def fail(self, error: BasculeError) -> None:
        """Take the reason why there is no result."""


class Line(Protocol):
    """The connection, as an exchange sees it."""

    def flush(self) -> None:
        """Write the replies that are next in order."""


class QueueBytes:
    """Bytes that wait in all queues of the process, and the lock that guards these queues."""

    __slots__ = ("count", "lock")

    def __init__(self) -> None:
        """Start at none."""
        self.count = 0
        self.lock = threading.Lock()
