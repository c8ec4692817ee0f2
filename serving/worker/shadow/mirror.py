"""Copies of a live version's calls, for a candidate's workers to answer and compare.

::

    reply was written → sampled (share) → queue of the mirror → sender, one for each target
                                           full: dropped         broken, late: dropped

Nothing here can fail or delay a call: `offer` comes after the reply and only appends to a bounded
queue. What a sender does on the loop is bounded, too: after each message it rests nine times as
long as it took. Calls of sequences and calls with tensors in shared memory are not copied: they
cannot be repeated.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from runtimes.contract import Array
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport, Pair
from serving.wire.call import InferCall
from serving.worker.control import SHARE_SCALE, MirrorEntry, MirrorTable
from serving.worker.exchange import Desk, Exchange
from serving.worker.shadow.message import LiveCall, NamedOutput, RawRequest, encode_copy, live_call
from serving.worker.shadow.sender import ShadowSender, SilentTargetError
from serving.worker.tap import Turns

MAX_CALLS: Final = 64
"""Copies of one mirror that wait or are being sent."""
MAX_BYTES: Final = 32 << 20
"""What all copies of the process may keep from being freed."""
MESSAGE_CALLS: Final = 32
MESSAGE_BYTES: Final = 4 << 20
"""A larger call is sent by itself."""
SEND_LIMIT_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
REST: Final = 9
"""A sender's work on the loop takes a tenth of its time at most."""
WRITE_BYTES_PER_S: Final = 1e9
"""What the kernel takes in, about: part of that work."""
SEQUENCE_ID: Final = "sequence_id"

log = structlog.get_logger(__name__)


class Room:
    """Bytes that all copies of the process keep from being freed."""

    __slots__ = ("max_bytes", "used_bytes")

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Begin with none."""
        self.max_bytes = max_bytes
        self.used_bytes = 0


@dataclass(slots=True)
class Counts:
    """What became of the copies of a pair, through all tables that have it."""

    copied: int = 0
    dropped: int = 0


class MirrorQueue:
    """The copies of one mirror that wait or are being sent, and what became of the others."""

    def __init__(self, entry: MirrorEntry, room: Room, max_calls: int = MAX_CALLS) -> None:
        """Begin empty."""
        self.pair = Pair(entry.model, entry.candidate, entry.version)
        self._turns = Turns(entry.share / SHARE_SCALE)
        self._room = room
        self._max_calls = max_calls
        self._waiting: deque[LiveCall] = deque()
        self._open_count = 0
        self._has_calls = asyncio.Event()
        self._counts = Counts()

    def keep_counts_of(self, before: "MirrorQueue") -> None:
        """Go on with the counts of an earlier mirror of the same pair, whose messages may be lost.

        They are on their way, and counted when that is known.
        """
        self._counts = before._counts  # noqa: SLF001  its own class

    def offer(self, call: Callable[[], LiveCall]) -> None:
        """Take a copy if it is this call's turn and there is room."""
        if not self._turns.takes_next():
            return
        self._counts.copied += 1
        if self._open_count >= self._max_calls:
            self._counts.dropped += 1
            return
        copy = call()
        if self._room.used_bytes + copy.held_bytes > self._room.max_bytes:
            self._counts.dropped += 1
            return
        self._room.used_bytes += copy.held_bytes
        self._open_count += 1
        self._waiting.append(copy)
        self._has_calls.set()

    async def take(self) -> list[LiveCall]:
        """Wait for copies and take as many as fit one message; `release` must follow."""
        while not self._waiting:
            self._has_calls.clear()
            await self._has_calls.wait()
        taken = [self._waiting.popleft()]
        size_bytes = taken[0].held_bytes
        while self._waiting and len(taken) < MESSAGE_CALLS:
            size_bytes += self._waiting[0].held_bytes
            if size_bytes > MESSAGE_BYTES:
                break
            taken.append(self._waiting.popleft())
        return taken

    def release(self, taken: Sequence[LiveCall], *, dropped: int) -> None:
        """Give back the room of copies that were sent or lost; so many of them count as dropped."""
        self._open_count -= len(taken)
        self._room.used_bytes -= sum(copy.held_bytes for copy in taken)
        self._counts.dropped += dropped

    def drop_waiting(self) -> None:
        """Let go of what waits: there is nobody to send it to any more."""
        taken = list(self._waiting)
        self._waiting.clear()
        self.release(taken, dropped=len(taken))

    def report(self) -> ComparisonReport:
        """Say what was copied and dropped."""
        return ComparisonReport(
            model=self.pair.model,
            version=self.pair.version,
            against=self.pair.against,
            copied_calls=self._counts.copied,
            dropped_calls=self._counts.dropped,
        )


class Mirrors:
    """All mirrors of a worker. Belongs to its loop."""

    def __init__(self, desk: Desk, *, send_limit_s: float = SEND_LIMIT_S) -> None:
        """Copy nothing."""
        self._desk = desk
        self._send_limit_s = send_limit_s
        self._room = Room()
        self._queues: dict[VersionKey, list[MirrorQueue]] = {}
        self._table = MirrorTable()
        self._senders: list[asyncio.Task[None]] = []
        self._has_changed = asyncio.Event()

    def replace(self, table: MirrorTable) -> None:
        """Copy what a table says from now on. Counts of a pair that stays go on."""
        if table == self._table:
            return
        before = {queue.pair: queue for queues in self._queues.values() for queue in queues}
        self._table = table
        self._queues = {}
        for entry in table.mirrors:
            if not entry.targets or not entry.share:
                continue
            queue = MirrorQueue(entry, self._room)
            earlier = before.get(queue.pair)
            if earlier is not None:
                earlier.drop_waiting()
                queue.keep_counts_of(earlier)
            self._queues.setdefault(VersionKey(entry.model, entry.version), []).append(queue)
        for queue in before.values():
            queue.drop_waiting()
        self._desk.mirrors = self if self._queues else None
        self._has_changed.set()

    def offer(self, exchange: Exchange, request: RawRequest, outputs: Sequence[Array]) -> None:
        """Hand over a call whose reply was written."""
        loaded = exchange.loaded
        queues = None if loaded is None else self._queues.get(loaded.spec.key)
        call = exchange.call
        if queues is None or loaded is None or not _may_repeat(call):
            return
        specs = loaded.served.outputs

        def copy() -> LiveCall:
            asked = [specs[ask.index] for ask in call.outputs]
            arrays = [outputs[ask.index] for ask in call.outputs]
            return live_call(
                request,
                [
                    NamedOutput(spec.name, spec.datatype, array)
                    for spec, array in zip(asked, arrays, strict=True)
                ],
            )

        for queue in queues:
            queue.offer(copy)

    def reports(self) -> tuple[ComparisonReport, ...]:
        """Say what was copied and dropped, for each mirror."""
        return tuple(queue.report() for queues in self._queues.values() for queue in queues)

    async def run(self) -> None:
        """Send what was copied, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._has_changed.wait()
                self._has_changed.clear()
                for task in self._senders:
                    task.cancel()
                targets = {
                    Pair(entry.model, entry.candidate, entry.version): entry.targets
                    for entry in self._table.mirrors
                }
                self._senders = [
                    group.create_task(self._send_always(queue, target))
                    for queues in self._queues.values()
                    for queue in queues
                    for target in targets[queue.pair]
                ]

    async def _send_always(self, queue: MirrorQueue, target: str) -> None:
        """Send a queue's copies to one target; while it is away, ask again ever more seldom."""
        pause_s = FIRST_PAUSE_S
        sender = ShadowSender(target, self._table.key)
        try:
            while True:
                taken = await queue.take()
                pause_s = await self._send(queue, taken, sender, pause_s)
        finally:
            sender.close()

    async def _send(
        self, queue: MirrorQueue, taken: Sequence[LiveCall], sender: ShadowSender, pause_s: float
    ) -> float:
        """Send one message and rest; returns the pause after the next failure."""
        dropped = len(taken)
        try:
            began_ns = self._desk.now_ns()
            parts = [part for call in taken for part in encode_copy(queue.pair, call)]
            busy_s = (self._desk.now_ns() - began_ns) / 1e9
            busy_s += sum(map(len, parts)) / WRITE_BYTES_PER_S
            async with asyncio.timeout(self._send_limit_s):
                reply = await sender.send(parts)
            dropped = reply.refused
        except (OSError, TimeoutError, SilentTargetError) as error:
            log.debug("shadow_target_away", target=sender.target, reason=str(error))
        except Exception:  # process edge: a copy must not end the worker that answers clients
            log.exception("shadow_failed", target=sender.target)
        else:
            await asyncio.sleep(REST * busy_s)
            return FIRST_PAUSE_S
        finally:
            queue.release(taken, dropped=dropped)
        sender.close()
        await asyncio.sleep(pause_s)
        return min(2 * pause_s, LONGEST_PAUSE_S)


def _may_repeat(call: InferCall) -> bool:
    """Say whether a call asked again means the same."""
    if call.parameters and SEQUENCE_ID in call.parameters:
        return False
    return not call.region_bytes and all(ask.region is None for ask in call.outputs)
