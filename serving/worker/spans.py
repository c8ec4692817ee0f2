"""Spans of answered calls, for whoever collects traces: the loop picks, a thread makes them.

A call whose client sent a W3C trace context (`traceparent`) is traced as that says; of the others a
share begins a trace of its own. One call is one span of kind SERVER with a child for each stage::

    infer MODEL ── queue ── batch ── compute ── encode

Serving never waits: calls that do not fit the queue are not traced, and that is told in the log.
"""

import threading
from collections.abc import Callable, Mapping
from queue import Empty, Full, Queue
from typing import Final, Protocol

import msgspec
import structlog

from serving.ids import VersionKey
from serving.monitor.stages import TRANSPORTS
from serving.worker.executor import Ran
from serving.worker.queued import QueuedCall
from serving.worker.tap import EvenSampler, Observer, TappedVersion

log = structlog.get_logger(__name__)

MAX_WAITING: Final = 2048
LOOK_S: Final = 0.2
"""How often the thread sees whether it shall end."""
PARENT: Final = b"traceparent"
STATE: Final = b"tracestate"
SAMPLED: Final = frozenset(b"13579bdfBDF")
"""Last digits of a trace context that says: somebody traces this call."""
NO_HEADERS: Final[Mapping[bytes, bytes]] = {}


class CallTrace(msgspec.Struct, frozen=True):
    """What is told of one call; instants are on the monotonic clock."""

    key: VersionKey
    transport: str
    request_id: str
    prediction_id: str
    rows: int
    batch_rows: int
    batch_calls: int
    came_ns: int
    moments_ns: tuple[int, int, int, int]
    """Taken up, run begins, run ends, reply handed over."""
    parent: str = ""
    """`traceparent`, as it came; empty: a trace begins here."""
    state: str = ""


class SpanMaker(Protocol):
    """Makes spans and sends them; belongs to the thread."""

    def make(self, call: CallTrace) -> None:
        """Make the spans of a call."""

    def close(self) -> None:
        """Send what waits."""


class CallSpans:
    """Picks the calls of one version: the observer."""

    def __init__(self, key: VersionKey, share: float, put: Callable[[CallTrace], None]) -> None:
        """Choose this share of the calls that nobody traces already."""
        self._key = key
        self._sampler = EvenSampler(share)
        self._put = put

    def take(self, ran: Ran, end_ns: int) -> None:
        """Hand the chosen calls of a batch to the thread."""
        for item in ran.batch:
            asked = item.asked
            headers: Mapping[bytes, bytes] = getattr(asked, "headers", NO_HEADERS)
            parent = headers.get(PARENT, b"")
            if parent:
                if parent[-1] not in SAMPLED:
                    continue
            elif not self._sampler.takes_next():
                continue
            if not item.is_gone:
                self._put(self._traced(item, headers, ran, end_ns))

    def _traced(
        self, item: QueuedCall, headers: Mapping[bytes, bytes], ran: Ran, end_ns: int
    ) -> CallTrace:
        return CallTrace(
            key=self._key,
            transport=TRANSPORTS[item.transport],
            request_id=item.call.id,
            prediction_id=getattr(item.asked, "prediction_id", ""),
            rows=item.rows,
            batch_rows=ran.rows,
            batch_calls=len(ran.batch),
            came_ns=item.enqueued_ns,
            moments_ns=(ran.begin_ns, ran.infer_ns, ran.split_ns, end_ns),
            parent=headers.get(PARENT, b"").decode("latin-1"),
            state=headers.get(STATE, b"").decode("latin-1"),
        )


class SpanThread:
    """The spans of one worker. `tap` is the loop's."""

    def __init__(self, share: float, open_maker: Callable[[], SpanMaker]) -> None:
        """Start the thread.

        Args:
            share: Of the calls without a trace context, so many are traced.
            open_maker: Called in the thread: what it imports is large.
        """
        self._share = share
        self._open_maker = open_maker
        self._waiting: Queue[CallTrace] = Queue(MAX_WAITING)
        self._lost_count = 0
        self._has_to_end = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def tap(self, version: TappedVersion) -> Observer | None:
        """Return a version's observer."""
        return CallSpans(version.spec.key, self._share, self._put)

    def close(self, timeout_s: float) -> bool:
        """Send what waits, as far as time allows; say whether the thread has ended."""
        self._has_to_end = True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, call: CallTrace) -> None:
        try:
            self._waiting.put_nowait(call)
        except Full:
            self._lost_count += 1

    def _run(self) -> None:
        maker = self._open_maker()
        told_count = 0
        while not (self._has_to_end and self._waiting.empty()):
            try:
                maker.make(self._waiting.get(timeout=LOOK_S))
            except Empty:
                continue
            except Exception:  # process edge: one call's spans must not end the thread
                log.exception("spans_not_made")
            if self._lost_count > told_count:
                log.warning("calls_not_traced", count=self._lost_count - told_count)
                told_count = self._lost_count
        maker.close()
