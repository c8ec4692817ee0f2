"""Answers ModelStreamInfer: many calls of one stream at once, replies in the order of the calls.

::

    stream ──► window ──► a unary call through the edge each ──► replies wait for their turn ──►
                              │
                              └─ calls of one sequence one after the other: each waits for the last

A call that fails is answered with `error_message`, and the stream goes on; with the metadata
`triton_grpc_error: true` the first failure ends it with its status. When the client half-closes,
what is in flight is answered; when it cancels, that is dropped. A stream that is open when the
server goes ends with that status once what is in flight is answered.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import grpc

from protos.generated import open_inference_pb2 as pb
from runtimes.errors import BasculeError
from serving.edge.drain import Drain
from serving.edge.grpc_relay import InferRelay
from serving.edge.message_room import MessageRoom
from serving.edge.unary_calls import STATUS
from serving.errors import WIRE, DrainingError
from serving.wire.proto_sequence import SequenceName, id_of, sequence_of
from serving.wire.protobuf import delimited

MAX_CALLS: Final = 64
"""Calls of one stream in flight; the next ones stay in the connection, whose windows then fill."""
MAX_CALL_BYTES: Final = 64 << 20
"""Bytes of their requests. One call is always let in, however large."""
STRICT: Final = ("triton_grpc_error", "true")
"""Metadata of a stream that shall end with the status of its first failure."""

# `parameters["triton_final_response"] = true` of a ModelInferResponse: appended to a serialized
# message it is merged into it.
FINAL_RESPONSE: Final = pb.ModelInferResponse(
    parameters={"triton_final_response": pb.InferParameter(bool_param=True)}
).SerializeToString()

Context = Any
"""What grpc hands to a method; it ships no types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a call has no result."""

    status: grpc.StatusCode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the stream says to one of its calls."""

    message: bytes
    """A serialized ModelStreamInferResponse."""
    failure: Failure | None = None


class StreamRelay:
    """Sends the calls of streams into the edge again, as unary calls."""

    def __init__(self, calls: InferRelay, drain: Drain) -> None:
        """Take what sends one call, and what says that the server goes."""
        self._calls = calls
        self._drain = drain

    async def stream(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Answer one stream."""
        is_strict = STRICT in {(key, value) for key, value in context.invocation_metadata() or ()}
        share = _Share(self._calls.room)
        try:
            failure = await self._converse(requests, context, share, is_strict=is_strict)
        finally:
            share.close()
        if failure is not None:
            await context.abort(failure.status, failure.text)

    async def _converse(
        self,
        requests: AsyncIterator[bytes],
        context: Context,
        share: "_Share",
        *,
        is_strict: bool,
    ) -> Failure | None:
        async with asyncio.TaskGroup() as group:
            flow = _Flow(self._calls, context, share, group)
            reader = group.create_task(flow.read(requests, self._drain))
            failure = await flow.write(is_strict=is_strict)
            if failure is not None:
                reader.cancel()
                flow.drop()
        return failure


class _Share:
    """What one stream has in the room of all messages."""

    def __init__(self, room: MessageRoom) -> None:
        self._room = room
        self._size_bytes = 0

    def take(self, size_bytes: int) -> None:
        self._room.take(size_bytes)
        self._size_bytes += size_bytes

    def swap(self, old_bytes: int, new_bytes: int) -> None:
        """Count a reply in the place of its request, or nothing in the place of a sent reply."""
        self._room.give(old_bytes)
        self._room.hold(new_bytes)
        self._size_bytes += new_bytes - old_bytes

    def close(self) -> None:
        self._room.give(self._size_bytes)
        self._size_bytes = 0


class _Flow:
    """The calls of one stream on their way."""

    def __init__(
        self, calls: InferRelay, context: Context, share: _Share, group: asyncio.TaskGroup
    ) -> None:
        self._calls = calls
        self._context = context
        self._share = share
        self._group = group
        self._window = _Window()
        self._turn: asyncio.Queue[tuple[asyncio.Task[Answer], int] | Failure | None] = (
            asyncio.Queue()
        )
        self._last: dict[SequenceName, asyncio.Task[Answer]] = {}

    async def read(self, requests: AsyncIterator[bytes], drain: Drain) -> None:
        """Take the calls of a stream, until the server goes."""
        try:
            async with drain.interrupts():
                await self._take(requests)
        except DrainingError as error:
            self._turn.put_nowait(_failure_of(error))
        else:
            self._turn.put_nowait(None)

    async def _take(self, requests: AsyncIterator[bytes]) -> None:
        """Start the calls as they come, as far as the window lets them in."""
        async for request in requests:
            try:
                message = await self._calls.inflated(request)
                self._share.take(len(message))
            except BasculeError as error:
                await self._window.enter(0)
                refused = self._refused(_failure_of(error))
                self._turn.put_nowait((self._group.create_task(refused), 0))
                continue
            await self._window.enter(len(message))
            self._turn.put_nowait((self._start(message), len(message)))

    async def write(self, *, is_strict: bool) -> Failure | None:
        """Send the answers in turn; a strict stream ends at its first failure."""
        while (entry := await self._turn.get()) is not None:
            if isinstance(entry, Failure):
                return entry
            task, size_bytes = entry
            answer = await task
            self._window.leave(size_bytes)
            if is_strict and answer.failure is not None:
                return answer.failure
            await self._context.write(answer.message)
            self._share.swap(len(answer.message), 0)
        return None

    def drop(self) -> None:
        """Forget every call that was not answered."""
        while not self._turn.empty():
            entry = self._turn.get_nowait()
            if isinstance(entry, tuple):
                entry[0].cancel()

    def _start(self, message: bytes) -> asyncio.Task[Answer]:
        sequence = sequence_of(message)
        if sequence is None:
            return self._group.create_task(self._answer(message, None))
        task = self._group.create_task(self._answer(message, self._last.get(sequence)))
        self._last[sequence] = task
        task.add_done_callback(lambda done: self._forget(sequence, done))
        return task

    async def _answer(self, message: bytes, before: asyncio.Task[Answer] | None) -> Answer:
        if before is not None:
            await asyncio.wait((before,))
        try:
            reply = await self._calls.call(message, self._context)
        except grpc.aio.AioRpcError as error:
            text = error.details() or error.code().name
            answer = _failed(message, Failure(status=error.code(), text=text))
        else:
            answer = Answer(message=delimited(2, reply + FINAL_RESPONSE))
        self._share.swap(len(message), len(answer.message))
        return answer

    async def _refused(self, failure: Failure) -> Answer:
        answer = _failed(b"", failure)
        self._share.swap(0, len(answer.message))
        return answer

    def _forget(self, sequence: SequenceName, done: asyncio.Task[Answer]) -> None:
        if self._last.get(sequence) is done:
            del self._last[sequence]


class _Window:
    """How much of one stream may be in flight."""

    def __init__(self) -> None:
        self._call_count = 0
        self._size_bytes = 0
        self._has_room = asyncio.Event()

    async def enter(self, size_bytes: int) -> None:
        while self._call_count >= MAX_CALLS or (
            self._call_count and self._size_bytes + size_bytes > MAX_CALL_BYTES
        ):
            self._has_room.clear()
            await self._has_room.wait()
        self._call_count += 1
        self._size_bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        self._call_count -= 1
        self._size_bytes -= size_bytes
        self._has_room.set()


def _failure_of(error: BasculeError) -> Failure:
    return Failure(status=STATUS[WIRE[error.code].grpc], text=error.message)


def _failed(request: bytes, failure: Failure) -> Answer:
    answer = pb.ModelInferResponse(id=id_of(request)).SerializeToString() + FINAL_RESPONSE
    message = delimited(1, failure.text.encode()) + delimited(2, answer)
    return Answer(message=message, failure=failure)
