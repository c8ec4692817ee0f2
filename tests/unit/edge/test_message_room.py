"""How many bytes of gRPC messages the front desk holds at a time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from protos.generated import open_inference_pb2 as pb
from runtimes.errors import Code
from serving.edge.drain import Drain
from serving.edge.message_room import MessageRoom
from serving.edge.stream_relay import StreamRelay
from serving.errors import NoRoomError


@dataclass
class HeldCalls:
    """Answers a stream's calls when it is told to; packs nothing."""

    room: MessageRoom
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def inflated(self, request: bytes) -> bytes:
        """Give a message as it is."""
        return request

    async def call(self, message: bytes, context: object) -> bytes:
        """Answer with an empty reply."""
        del message, context
        await self.may_answer.wait()
        return b""


@dataclass
class Client:
    """The client's end of a stream."""

    got: list[pb.ModelStreamInferResponse] = field(default_factory=list)

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Say nothing."""
        return ()

    async def write(self, message: bytes) -> None:
        """Read a reply."""
        self.got.append(pb.ModelStreamInferResponse.FromString(message))


async def sent(calls: HeldCalls, *sizes: int) -> AsyncIterator[bytes]:
    """Send calls of so many bytes, then let them be answered."""
    for size in sizes:
        yield pb.ModelInferRequest(id="x" * size).SerializeToString()
    calls.may_answer.set()


def test_messages_over_the_limit_are_refused_until_others_are_gone() -> None:
    """The text says what is in use, what the limit is, and what was asked for."""
    room = MessageRoom(100)
    room.take(60)

    with pytest.raises(NoRoomError, match="60 of 100 bytes are in use, and this one has 50"):
        room.take(50)
    room.give(60)
    room.take(50)

    assert room.used_bytes == 50


def test_one_message_alone_is_let_in() -> None:
    """Its size is limited by that of a request, and by nothing else."""
    room = MessageRoom(100)

    room.take(1000)

    assert room.used_bytes == 1000


def test_a_reply_counts_and_is_not_refused() -> None:
    """The call has run; what comes after it waits outside."""
    room = MessageRoom(100)
    room.hold(500)

    with pytest.raises(NoRoomError) as caught:
        room.take(1)

    assert caught.value.code is Code.NO_ROOM


def test_a_streams_call_without_room_is_refused_and_the_stream_goes_on() -> None:
    """The call before and the one after are answered, and nothing stays counted."""

    async def run() -> tuple[list[str], int]:
        room = MessageRoom(2000)
        calls, client = HeldCalls(room), Client()
        await StreamRelay(calls, Drain()).stream(sent(calls, 1500, 1500, 100), client)  # type: ignore[arg-type]  # a fake of what grpc makes
        return [reply.error_message for reply in client.got], room.used_bytes

    (first, second, third), left_bytes = asyncio.run(run())

    assert (first, third, left_bytes) == ("", "", 0)
    assert "1503 of 2000 bytes are in use" in second


def test_a_stream_that_ends_early_gives_its_room_back() -> None:
    """A client that leaves holds nothing."""

    async def run() -> int:
        room = MessageRoom(10_000)
        calls, client = HeldCalls(room), Client()
        stream = asyncio.ensure_future(
            StreamRelay(calls, Drain()).stream(sent(HeldCalls(room), 1000, 1000), client)  # type: ignore[arg-type]  # as above
        )
        while room.used_bytes < 2000:  # noqa: ASYNC110  the room has no event
            await asyncio.sleep(0)
        stream.cancel()
        await asyncio.wait((stream,))
        return room.used_bytes

    assert asyncio.run(run()) == 0
