"""Spans of calls, for whoever collects traces: the loop picks, a thread makes them.

A call whose client sent a W3C trace context (`traceparent`) is traced as that says; of the others a
share begins a trace of its own. One call is one span of kind SERVER with a child for each stage::

    infer MODEL ── queue ── batch ── compute ── encode

One that failed has its error, and no stages. Serving never waits: calls that do not fit the queue
are not traced, and that is told in the log.
"""

import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, Full, Queue
from typing import Final, Protocol

import msgspec
import structlog

from runtimes.errors import BasculeError
from serving.ids import VersionKey
from serving.monitor.stages import TRANSPORTS
from serving.wire.call import InferCall
from serving.worker.executor import Ran
from serving.worker.queued import QueuedCall
from serving.worker.tap import Observer, TappedVersion, Turns
from serving.worker.targets import PathTarget

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

    model: str
    version: int
    """0: none was chosen."""
    transport: str
    request_id: str
    came_ns: int
    moments_ns: tuple[int, ...]
    """Taken up, run begins, run ends, reply handed over; of a call that failed, only the last."""
    parent: str = ""
    """`traceparent`, as it came; empty: a trace begins here."""
    state: str = ""
    prediction_id: str = ""
    rows: int = 0
    batch_rows: int = 0
    batch_calls: int = 0
    error: str = ""
    """Why it failed; empty: it was answered."""
    code: str = ""


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
        self._sampler = Turns(share)
        self._put = put

    def take(self, ran: Ran, end_ns: int) -> None:
        """Hand the chosen calls of a batch to the thread."""
        for item in ran.batch:
            if item.is_gone or item.asked.refusal() is not None:
                continue  # one that was refused after its run was traced as failed
            headers = _headers(item)
            if _is_traced(headers, self._sampler):
                self._put(self._traced(item, headers, ran, end_ns))

    def _traced(
        self, item: QueuedCall, headers: Mapping[bytes, bytes], ran: Ran, end_ns: int
    ) -> CallTrace:
        return CallTrace(
            model=self._key.model,
            version=self._key.version,
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


def _headers(item: QueuedCall) -> Mapping[bytes, bytes]:
    headers: Mapping[bytes, bytes] = getattr(item.asked, "headers", NO_HEADERS)
    return headers


def _is_traced(headers: Mapping[bytes, bytes], sampler: Turns) -> bool:
    parent = headers.get(PARENT, b"")
    return parent[-1] in SAMPLED if parent else sampler.takes_next()


class SpanThread:
    """The spans of one worker. `tap` is the loop's."""

    def __init__(self, share: float, open_maker: Callable[[], SpanMaker]) -> None:
        """Start the thread.

        Args:
            share: Of the calls without a trace context, so many are traced.
            open_maker: Called in the thread: what it imports is large.
        """
        self._share = share
        self._sampler = Turns(share)
        self._open_maker = open_maker
        self._waiting: Queue[CallTrace] = Queue(MAX_WAITING)
        self._lost_count = 0
        self._has_to_end = False
        self._is_off = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def tap(self, version: TappedVersion) -> Observer | None:
        """Return a version's observer."""
        return CallSpans(version.spec.key, self._share, self._put)

    def failed(self, call: QueuedCall, error: BasculeError) -> None:
        """Trace a call that its caller is told an error of, as others are; the loop's."""
        headers = _headers(call)
        if not _is_traced(headers, self._sampler):
            return
        now_ns = time.perf_counter_ns()
        target: PathTarget | None = getattr(call, "target", None)  # none before it was decoded
        known: InferCall | None = getattr(call, "call", None)
        self._put(
            CallTrace(
                model="" if target is None else target.model.name,
                version=0 if target is None else target.version or 0,
                transport=TRANSPORTS[call.transport],
                request_id="" if known is None else known.id,
                came_ns=getattr(call, "enqueued_ns", now_ns),
                moments_ns=(now_ns,),
                parent=headers.get(PARENT, b"").decode("latin-1"),
                state=headers.get(STATE, b"").decode("latin-1"),
                error=error.message,
                code=error.code.name,
            )
        )

    def close(self, timeout_s: float) -> bool:
        """Send what waits, as far as time allows; say whether the thread has ended."""
        self._has_to_end = True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, call: CallTrace) -> None:
        if self._is_off:
            return
        try:
            self._waiting.put_nowait(call)
        except Full:
            self._lost_count += 1

    def _run(self) -> None:
        try:
            maker = self._open_maker()
        except Exception:  # process edge: calls are answered all the same, and not traced
            log.exception("spans_not_opened")
            self._is_off = True
            return
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
