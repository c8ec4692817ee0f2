"""Hands steps of sequences to the worker that has their state, and relays its replies unchanged.

After a flip the edge gives a step to the version that is live now, whose worker does not know a
sequence that began on the version before. Only such a step comes here::

    step, not START, id unknown ── no peers ───────────────────────────► own error
            │ peers: one after the other
            ├── answered ─────► its reply, whatever it says, names the version that ran
            ├── NOT_HERE ─────► the next one; none is left: own error
            └── LOST_HERE, or its worker is gone or silent: 404, start the sequence again

A step that is handed on is never handed on again. Steps of one sequence wait for each other; one
whose client left before it was answered ends the sequence for those behind it: whether it ran is
not known. An id that begins here ends in the peers: so one worker at most has a sequence that
callers of the model can reach, whichever way traffic moves. Belongs to the worker's event loop.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec
import structlog

from runtimes.errors import BasculeError
from serving.errors import NotFoundError, QueueFullError
from serving.wire.peer_table import HANDED_ON_HEADER, PeerTable, SequencePeer
from serving.wire.tensors import Buffer
from serving.worker.sequence_stacking import SequenceId

HANDED_ON: Final = HANDED_ON_HEADER.encode()
NOT_HERE: Final = b"HTTP/1.1 421 Misdirected Request\r\ncontent-length: 0\r\n\r\n"
LOST_HERE: Final = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
ENDED: Final = b"HTTP/1.1 200 "
STATUS_BYTES: Final = len(b"HTTP/1.1 421")
MAX_HANDED_ON: Final = 1024
MAX_LOST: Final = 4096
GATHER_S: Final = 0.002
"""Ids that begin are gathered for so long before the peers are told of them."""
TELL_LIMIT_S: Final = 2.0
MAX_BEGUN_BYTES: Final = 1 << 20
"""Of one message to a peer, which reads no more, as it does not know who sends it. It is 50,000
numbers, or 8,000 texts of 128 letters: more than begin while they are gathered."""
ANSWER_LIMIT_S: Final = 300.0
"""HAProxy waits no longer for an inference: a peer that takes longer counts as gone."""
GONE: Final = (
    "the worker of the version that it may have begun on is gone, and the state of its sequences "
    "is lost"
)
LEFT: Final = "the client of one of its steps left, and whether that one ran is not known"
FAILED: Final = "one of its steps failed on its way to the worker that has it"
CLOSE: Final = b"connection: close\r\n"
OWN_HEADERS: Final = frozenset(
    {
        *(b"host", b"connection", b"keep-alive", b"expect", b"content-length", b"bascule-version"),
        *(b"transfer-encoding", b"content-encoding", b"grpc-encoding", HANDED_ON),
    }
)
"""Written anew, or of no meaning for a body that is whole and unpacked."""

log = structlog.get_logger(__name__)


class UnknownStepError(BasculeError):
    """A step of a sequence that is not here; it may be with another version's worker."""

    def __init__(self, own: BasculeError, miss: "Miss") -> None:
        """Keep what is to be answered if nobody has it, and what it is."""
        super().__init__(own.message)
        self.own = own
        self.miss = miss


@dataclass(frozen=True, slots=True)
class Miss:
    """The sequence that a step belongs to."""

    model: str
    id: SequenceId
    idle_ns: int
    """A sequence without a call for so long has ended, wherever it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Sequences that began at a worker: the others of the model have them no more."""

    model: str
    worker: str
    ids: tuple[SequenceId, ...]


class HandedStep(Protocol):
    """The exchange, as far as it is handed on."""

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Lower-case names."""

    @property
    def keep_alive(self) -> bool:
        """Whether its client's connection stays open."""

    @property
    def is_handed_on(self) -> bool:
        """Whether another worker sent it."""

    @property
    def request_target(self) -> bytes:
        """Its path, without a version."""

    def fail(self, error: BasculeError) -> None:
        """Send an error."""

    def relay(self, reply: Sequence[Buffer]) -> None:
        """Send a whole reply."""


class Handover:
    """What this worker knows of the others, and the steps that are with them."""

    def __init__(
        self, worker: str, loop: asyncio.AbstractEventLoop, now_ns: Callable[[], int]
    ) -> None:
        """Know nobody."""
        self._worker = worker
        self._loop = loop
        self._now_ns = now_ns
        self._peers: dict[str, tuple[SequencePeer, ...]] = {}
        self._is_told = False
        self._left_ns: dict[str, int] = {}
        self._running: dict[HandedStep, asyncio.Task[None]] = {}
        self._last: dict[tuple[str, SequenceId], asyncio.Task[None]] = {}
        self._lost: OrderedDict[tuple[str, SequenceId], str] = OrderedDict()
        self._begun: dict[str, list[SequenceId]] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def take(self, table: PeerTable, begun: Iterable[tuple[str, SequenceId]] = ()) -> None:
        """Know these from now on; what those that left had is lost.

        Args:
            table: The others.
            begun: What is under way here, by model: nobody has heard of what began before the
                first table came, as it does when this worker takes the place of one that ended.
        """
        before, self._peers = self._peers, _by_model(table)
        for model, peers in before.items():
            if set(peers) - set(self._peers.get(model, ())):
                self._left_ns[model] = self._now_ns()
        if not self._is_told:
            self._is_told = True
            for model, sequence in begun:
                self._end_elsewhere(model, sequence)

    def begin(self, model: str, sequence: SequenceId) -> None:
        """Take note that a sequence began here."""
        if self._lost:
            self._lost.pop((model, sequence), None)
        self._end_elsewhere(model, sequence)

    def forget_lost(self, begun: Begun) -> None:
        """Take note that sequences began anew at another worker: what was lost here was before."""
        for sequence in begun.ids:
            self._lost.pop((begun.model, sequence), None)

    def hand_on(self, step: HandedStep, unknown: UnknownStepError, body: Buffer) -> None:
        """Have a step answered by the worker that knows its sequence.

        Raises:
            QueueFullError: Too many are under way.
        """
        miss = unknown.miss
        if step.is_handed_on:
            is_lost = isinstance(unknown.own, NotFoundError)
            step.relay((LOST_HERE if is_lost else NOT_HERE,))
            return
        key = (miss.model, miss.id)
        if miss.model not in self._peers or key in self._lost:
            step.fail(self._own_answer(unknown))
            return
        if len(self._running) >= MAX_HANDED_ON:
            raise QueueFullError(
                f"{MAX_HANDED_ON} of {MAX_HANDED_ON} steps of sequences are with the workers of "
                "other versions; send it again later"
            )
        task = self._loop.create_task(self._relay(step, unknown, body, self._last.get(key)))
        self._running[step] = self._last[key] = task
        task.add_done_callback(lambda done: self._forget(step, key, done))

    def drop(self, step: HandedStep) -> None:
        """Forget a step whose client left: the other worker sees the end of its connection.

        Its sequence is lost, also if the step only waited: it was accepted, and did not run.
        """
        task = self._running.get(step)
        if task is not None:
            task.cancel()

    async def _relay(
        self,
        step: HandedStep,
        unknown: UnknownStepError,
        body: Buffer,
        before: asyncio.Task[None] | None,
    ) -> None:
        miss = unknown.miss
        if before is not None:
            await asyncio.wait((before,))
        key, is_lost = (miss.model, miss.id), False
        is_over = key in self._lost  # what begins anew from now on is not this step's sequence
        await self._all_told()
        for peer in () if is_over else self._peers.get(miss.model, ()):
            reply = await _ask_in_time(peer, _request(step, peer, len(body)), body)
            if not reply or reply.startswith(LOST_HERE[:STATUS_BYTES]):
                is_lost = True
            elif not reply.startswith(NOT_HERE[:STATUS_BYTES]):
                step.relay((_reply(reply, keep_alive=step.keep_alive),))
                return
        if is_lost:
            self._lose(key, GONE)
        step.fail(self._own_answer(unknown))

    def _lose(self, key: tuple[str, SequenceId], why: str) -> None:
        """Let no later step of a sequence run on a state that lacks one, here or where it is."""
        self._lost.setdefault(key, why)
        self._end_elsewhere(*key)
        if len(self._lost) > MAX_LOST:
            self._lost.popitem(last=False)

    def _end_elsewhere(self, model: str, sequence: SequenceId) -> None:
        """Have the peers end a sequence: calls may come to them again, after another flip."""
        if model in self._peers:
            if not self._begun:
                self._loop.call_later(GATHER_S, self._tell_begun)
            self._begun.setdefault(model, []).append(sequence)

    def _own_answer(self, unknown: UnknownStepError) -> BasculeError:
        miss = unknown.miss
        left_ns = self._left_ns.get(miss.model)
        has_left = left_ns is not None and self._now_ns() - left_ns < miss.idle_ns
        if isinstance(unknown.own, NotFoundError):
            return unknown.own
        why = self._lost.get((miss.model, miss.id), GONE if has_left else "")
        if not why:
            return unknown.own
        return NotFoundError(f"{unknown.own.message}; {why}: start the sequence again")

    def _forget(
        self, step: HandedStep, key: tuple[str, SequenceId], done: asyncio.Task[None]
    ) -> None:
        del self._running[step]
        if self._last.get(key) is done:
            del self._last[key]
        if done.cancelled():  # noted here, ahead of those that wait for it: it may not have begun
            self._lose(key, LEFT)
        elif (error := done.exception()) is not None:
            self._lose(key, FAILED)
            log.error("hand_over_failed", error=repr(error))
            step.fail(BasculeError("internal error; the worker's log has it"))

    async def _all_told(self) -> None:
        """Return when no peer has an id any more that began anew here."""
        if self._begun:
            self._tell_begun()
        if self._telling:
            await asyncio.wait(self._telling)

    def _tell_begun(self) -> None:
        begun, self._begun = self._begun, {}
        for model, ids in begun.items():
            for body in _messages(Begun(model=model, worker=self._worker, ids=tuple(ids))):
                for peer in self._peers.get(model, ()):
                    task = self._loop.create_task(_tell(peer, body))
                    self._telling.add(task)
                    task.add_done_callback(self._telling.discard)


def _by_model(table: PeerTable) -> dict[str, tuple[SequencePeer, ...]]:
    models = dict.fromkeys(peer.model for peer in table.peers)
    return {model: tuple(peer for peer in table.peers if peer.model == model) for model in models}


def _request(step: HandedStep, peer: SequencePeer, size_bytes: int) -> bytes:
    """Write the head of the step's request anew, for one version and one connection."""
    kept = (
        b"%b: %b\r\n" % (name, value)
        for name, value in step.headers.items()
        if name not in OWN_HEADERS
    )
    return b"".join(
        (
            b"POST %b HTTP/1.1\r\nhost: worker\r\n%b" % (step.request_target, CLOSE),
            b"%b: 1\r\nbascule-version: %d\r\n" % (HANDED_ON, peer.version),
            *kept,
            b"content-length: %d\r\n\r\n" % size_bytes,
        )
    )


def _reply(whole: bytes, *, keep_alive: bool) -> bytes:
    """Leave the client's connection open although the one to the peer was closed."""
    head, end, rest = whole.partition(b"\r\n\r\n")
    return head.replace(b"\r\n" + CLOSE[:-2], b"", 1) + end + rest if keep_alive else whole


def _messages(begun: Begun) -> Iterator[bytes]:
    """Write it in bodies that a peer reads; one of a single id may be too large for that."""
    body = msgspec.json.encode(begun)
    if len(body) <= MAX_BEGUN_BYTES or len(begun.ids) == 1:
        yield body
        return
    half = len(begun.ids) // 2
    for ids in (begun.ids[:half], begun.ids[half:]):
        yield from _messages(replace(begun, ids=ids))


async def _tell(peer: SequencePeer, body: bytes) -> None:
    head = b"POST /worker/begun HTTP/1.1\r\nhost: worker\r\n%bcontent-length: %d\r\n\r\n"
    try:
        async with asyncio.timeout(TELL_LIMIT_S):
            reply = await _ask(peer, head % (CLOSE, len(body)), body)
    except TimeoutError:
        log.warning("sequences_not_ended", worker=peer.worker)
    else:
        if reply and not reply.startswith(ENDED):  # without a reply there is no worker
            log.warning("sequences_not_ended", worker=peer.worker, reply=reply[:80].decode())


async def _ask_in_time(peer: SequencePeer, head: bytes, body: Buffer) -> bytes:
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await _ask(peer, head, body)
    except TimeoutError:
        log.warning("step_not_answered", worker=peer.worker)
        return b""


async def _ask(peer: SequencePeer, head: bytes, body: Buffer) -> bytes:
    """Return the whole reply; empty: the worker is not there, or ended before it was whole."""
    try:
        if peer.socket:
            reader, writer = await asyncio.open_unix_connection(peer.socket)
        else:
            host, _, port = peer.tcp.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError:
        return b""
    try:
        writer.write(head)
        writer.write(body)
        reply = await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()
    return reply if _is_whole(reply) else b""


def _is_whole(reply: bytes) -> bool:
    head, _, rest = reply.partition(b"\r\n\r\n")
    _, announced, length = head.partition(b"\r\ncontent-length: ")
    if announced:
        return len(rest) == int(length.partition(b"\r\n")[0])
    return rest.endswith(b"\r\n\r\n")
