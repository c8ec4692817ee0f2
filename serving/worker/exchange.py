"""Fast path. One infer request and its reply: decode → queue → encode, on either wire.

An exchange is created when the headers are complete and writes its reply exactly once; the
connection sends replies in the order of the requests.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from runtimes.contract import Array
from runtimes.errors import BasculeError, EngineError
from serving.monitor.quality.verdict import Verdict
from serving.monitor.statistics import FailureReason
from serving.unsent import UnsentReplies
from serving.wire.call import InferCall
from serving.wire.tensors import Buffer
from serving.worker.admission import NS_PER_S, draining_error
from serving.worker.body import MAX_BODIES_BYTES, BodyRoom, GatheredBody, SizedBody, open_body
from serving.worker.handover import HANDED_ON, Handover, UnknownStepError
from serving.worker.known_heads import KnownHeads
from serving.worker.loaded import LoadedVersion
from serving.worker.log_fields import call_fields
from serving.worker.quality_gate import MAX_JUDGED_INLINE_BYTES, QualityGate
from serving.worker.queued import Line, QueuedCall
from serving.worker.shadow.message import RawRequest
from serving.worker.targets import PathTarget, Targets

Headers = dict[bytes, bytes]

MAX_INFLATED_BYTES: Final = 64 << 20

log = structlog.get_logger(__name__)


class Desk:
    """What all exchanges of the process share, and whether new calls are taken."""

    __slots__ = (
        "body_room",
        "failed",
        "handover",
        "heads",
        "is_draining",
        "loop",
        "max_body_bytes",
        "max_inflated_bytes",
        "mirrors",
        "now_ns",
        "open_count",
        "targets",
        "unsent",
    )

    def __init__(  # noqa: PLR0913  the parts of the process, built in one place
        self,
        targets: Targets,
        *,
        handover: Handover,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        max_body_bytes: int,
        max_inflated_bytes: int = MAX_INFLATED_BYTES,
        max_bodies_bytes: int = MAX_BODIES_BYTES,
    ) -> None:
        """Take calls.

        Args:
            targets: The versions.
            handover: Has steps of sequences answered that other versions' workers know.
            loop: The process's loop.
            now_ns: Nanoseconds, monotonic.
            max_body_bytes: The largest body that is read.
            max_inflated_bytes: What a compressed body may become.
            max_bodies_bytes: What all bodies that are being received may have, and as much again
                all replies that wait for clients who read slowly.
        """
        self.targets = targets
        self.handover = handover
        self.loop = loop
        self.now_ns = now_ns
        self.max_body_bytes = max_body_bytes
        self.max_inflated_bytes = min(max_inflated_bytes, max_body_bytes)
        self.body_room = BodyRoom(max_bodies_bytes, now_ns)
        self.heads = KnownHeads(max_body_bytes)
        self.unsent = UnsentReplies(loop, max_bodies_bytes)
        self.is_draining = False
        self.failed: Callable[[Exchange, BasculeError], None] | None = None
        """Hears of calls that failed; None: nobody, which costs a failure one test."""
        self.mirrors: Mirroring | None = None
        """Who gets copies of answered calls; None: nobody, which costs a call one test."""
        self.open_count = 0
        """Infer requests whose reply was not written yet."""


class Mirroring(Protocol):
    """Takes copies of calls that were answered, for a candidate version."""

    def offer(self, exchange: "Exchange", request: RawRequest, outputs: Sequence[Array]) -> None:
        """Take a call whose reply was written, with one array for each output of the model."""


class Exchange(QueuedCall):
    """One infer request; see the subclasses for the two wires."""

    __slots__ = (
        "body",
        "desk",
        "early_error",
        "headers",
        "is_complete",
        "is_written",
        "keep_alive",
        "line",
        "loaded",
        "prediction_id",
        "refused",
        "reply",
        "target",
    )

    is_judged = True
    target: PathTarget
    """What the call names; set when it is decoded, at the latest."""

    def __init__(self, desk: Desk, line: Line, headers: Headers, *, keep_alive: bool) -> None:
        """Begin with complete headers."""
        self.desk = desk
        self.line = line
        self.headers = headers
        self.keep_alive = keep_alive
        self.body: GatheredBody | SizedBody | None = None
        self.early_error: BasculeError | None = None
        self.is_complete = False
        self.is_written = False
        self.loaded: LoadedVersion | None = None
        self.reply: Sequence[Buffer] | None = None
        self.deadline_ns = 0
        self.has_grpc_deadline = False
        self.is_gone = False

    def open_body(self) -> None:
        """Prepare to receive the body. A bad header is answered when the body is complete.

        Raises:
            PayloadTooLargeError: The announced size is over the limit.
        """
        try:
            header_bytes = self._read_headers()
        except BasculeError as error:
            self.early_error = error
            header_bytes = 0
        length = self.headers.get(b"content-length")
        self.body = open_body(
            None if length is None else int(length),
            header_bytes=header_bytes,
            max_bytes=self.desk.max_body_bytes,
            room=self.desk.body_room,
            sender=self,
        )

    def start(self) -> None:
        """Decode the complete body and let the call wait for its batch."""
        gathered = self.body
        self.body = None
        if self.is_gone or gathered is None:
            return
        if gathered.held_bytes:
            gathered.release()
        self._begin(gathered)

    def take(self, body: bytes) -> None:
        """Do the same for a small body that came with its head."""
        try:
            self._read_headers()
        except BasculeError as error:
            self.early_error = error
        self._begin(body)

    def _begin(self, whole: bytes | GatheredBody | SizedBody) -> None:
        try:
            if self.desk.is_draining or self.early_error is not None:
                self._refuse_early()
            body = whole if isinstance(whole, bytes) else whole.whole()
            if self._is_packed(body):
                self._unpack_in_thread(body)
            else:
                self._enter(body)
        except BasculeError as error:
            self.fail(error)
        except Exception:  # process edge: nothing that a client sends may end the connection
            log.exception("call_failed", **call_fields(self))
            self.fail(EngineError("internal error; the worker's log has it"))

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Encode the result and send it in turn."""
        try:
            quality = None if self.loaded is None else self.loaded.quality
            if quality is not None and not quality.is_passing:
                self.call = quality.pass_on(self.call, outputs)
            self._encode(outputs)
        except BasculeError as error:
            self.refused = error
            self.fail(error)
            return False
        except Exception:  # process edge: one call's reply must not take its batch-mates'
            log.exception("reply_failed", **call_fields(self))
            self.fail(EngineError("internal error; the worker's log has it"))
            return False
        return True

    def refusal(self) -> BasculeError | None:
        """Return what the caller was told when the result could not be sent."""
        refused: BasculeError | None = getattr(self, "refused", None)
        return refused

    def fail(self, error: BasculeError) -> None:
        """Send the error in turn."""
        if self.desk.failed is not None:
            self.desk.failed(self, error)
        self._send((self._failure(error),))

    def refuse(self, error: BasculeError) -> None:
        """Answer before the body was read; the connection ends, as the rest is not wanted."""
        self.drop_body()
        self.keep_alive = False
        self.fail(error)

    def withdraw(self, error: BasculeError) -> None:
        """Put an error in the place of a reply: that the call ran is counted elsewhere."""
        self.reply = (self._failure(error),)
        if self.loaded is not None:
            waited_ns = self.desk.now_ns() - self.enqueued_ns
            self.loaded.statistics.count_failure(FailureReason.REJECTED, waited_ns, error)

    def drop_body(self) -> None:
        """Forget what has come of the body."""
        if self.body is not None:
            self.body.release()
            self.body = None

    def cancel(self) -> None:
        """Forget the call: its client left."""
        self.drop_body()
        loaded = self.loaded
        if loaded is None:
            self.is_gone = True
            self.desk.handover.drop(self)
        else:
            loaded.batcher.cancel(self)

    @property
    def is_routed(self) -> bool:
        """Whether it came from a client that named no version: the edge chose it."""
        return self.target.version is None

    @property
    def is_handed_on(self) -> bool:
        """Whether the worker of another version handed it on."""
        return HANDED_ON in self.headers

    @property
    @abstractmethod
    def request_target(self) -> bytes:
        """Its path, without a version."""

    def header(self, name: bytes) -> bytes:
        """Return a header as its client sent it; empty: it did not."""
        return self.headers.get(name, b"")

    def relay(self, reply: Sequence[Buffer]) -> None:
        """Send a whole reply, which another worker made, in turn."""
        self._send(reply)

    @abstractmethod
    def _read_headers(self) -> int:
        """Take what the headers say of the call; return the size of its JSON header."""

    @abstractmethod
    def _is_packed(self, body: Buffer) -> bool:
        """Whether the body is compressed."""

    @abstractmethod
    def _unpacked(self, body: Buffer) -> Buffer:
        """Decompress the body; runs in a thread."""

    @abstractmethod
    def _decode(self, body: Buffer) -> InferCall:
        """Choose the version and decode the body for it."""

    @abstractmethod
    def _encode(self, outputs: Sequence[Array]) -> None:
        """Encode the result and send it."""

    @abstractmethod
    def _failure(self, error: BasculeError) -> bytes:
        """Encode an error."""

    def _refuse_early(self) -> None:
        if self.desk.is_draining:
            raise draining_error()
        if self.early_error is not None:
            raise self.early_error

    def _enter(self, body: Buffer, judged: InferCall | None = None) -> None:
        """Decode a call, or take one that was decoded and judged, and let it wait."""
        call = self._decode(body) if judged is None else judged
        loaded = self.loaded
        if loaded is None:  # decoding sets it or raises
            raise EngineError("no version was chosen for a decoded call")
        if loaded.quality is not None and judged is None and not loaded.judges_batches:
            if len(body) + call.region_bytes > MAX_JUDGED_INLINE_BYTES:
                self._judge_in_thread(loaded, loaded.quality, call, body)
                return
            call = loaded.quality.admit(call)
        self.call = call
        self.rows = call.rows
        self.stack_key = call.stack_key
        self.size_bytes = len(body) + call.region_bytes
        if (call.timeout_s and not loaded.has_levels) or loaded.default_timeout_ns:
            self._limit_queue_time(call.timeout_s, loaded.default_timeout_ns)
        try:
            loaded.batcher.submit(self)
        except UnknownStepError as unknown:
            self.loaded = None  # if its client leaves, the batcher has nothing to forget
            self.desk.handover.hand_on(self, unknown, body)

    def _limit_queue_time(self, timeout_s: float, default_timeout_ns: int) -> None:
        limits = [limit for limit in (int(timeout_s * NS_PER_S), default_timeout_ns) if limit > 0]
        deadline_ns = self.desk.now_ns() + min(limits)
        if not self.deadline_ns or deadline_ns < self.deadline_ns:
            self.deadline_ns = deadline_ns
            self.has_grpc_deadline = False

    def _choose(self, target: PathTarget) -> LoadedVersion:
        loaded = target.loaded(self.headers)
        if loaded is None:
            raise self.desk.targets.missing(target, self.headers)
        self.loaded = loaded
        return loaded

    def _judge_in_thread(
        self, loaded: LoadedVersion, quality: QualityGate, call: InferCall, body: Buffer
    ) -> None:
        """Looking at many values must not stop the loop."""
        self.loaded = None  # if its client leaves, the batcher has nothing to forget
        room, size_bytes = self.desk.body_room, len(body)
        room.take(size_bytes)  # it may wait for a thread
        future = self.desk.loop.run_in_executor(None, quality.judge, call)
        future.add_done_callback(lambda _: room.give(size_bytes))

        def settle(judged: "asyncio.Future[Verdict | None]") -> None:
            if self.is_gone:
                return
            if self.target.loaded(self.headers) is not loaded:  # it was replaced meanwhile
                self._enter(body)
                return
            self.loaded = loaded
            self._enter(body, quality.settle(call, judged.result()))

        future.add_done_callback(lambda judged: self._go_on(lambda: settle(judged)))

    def _go_on(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BasculeError as error:
            self.fail(error)
        except Exception:  # process edge, as in `start`
            log.exception("call_failed", **call_fields(self))
            self.fail(EngineError("internal error; the worker's log has it"))

    def _unpack_in_thread(self, body: Buffer) -> None:
        """A decompression bomb must not stop the loop."""
        room, size_bytes = self.desk.body_room, len(body)
        room.take(size_bytes)  # it may wait for a thread
        future = self.desk.loop.run_in_executor(None, self._unpacked, body)
        future.add_done_callback(lambda _: room.give(size_bytes))
        future.add_done_callback(self._on_unpacked)

    def _on_unpacked(self, future: "asyncio.Future[Buffer]") -> None:
        # Not raised here: error, traceback, this frame and the future would be a cycle, and young
        # garbage is collected seldom.
        failure = future.exception()
        if self.is_gone:
            return
        if isinstance(failure, BasculeError):
            self.fail(failure)
        else:
            self._go_on(lambda: self._enter(future.result()))

    def _send(self, reply: Sequence[Buffer]) -> None:
        if self.reply is None and not self.is_gone:
            self.reply = reply
            self.line.flush()
