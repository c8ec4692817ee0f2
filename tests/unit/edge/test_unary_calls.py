"""Unary gRPC methods: how many of a call's messages are read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from serving.edge.message_room import SIZE_HEADER, SMALL_BYTES, MessageRoom
from serving.edge.unary_calls import unary_method
from serving.wire import refusals


class AbortedError(Exception):
    """The call was refused."""


class Context:
    """A call's context, as far as it is used."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Say what HAProxy read of the first message."""
        return ((SIZE_HEADER, str(self._size_bytes)),)

    async def abort(self, code: object, details: str) -> None:
        """End the call."""
        del code
        raise AbortedError(details)


def answered(size_bytes: int, *messages: bytes) -> tuple[bytes, list[bytes]]:
    """Call a method that gives back what it gets; also, the messages that are left unread."""
    unread = list(messages)

    async def sent() -> AsyncIterator[bytes]:
        while unread:
            yield unread.pop(0)

    async def echo(message: bytes, context: object) -> bytes:
        del context
        return message

    method = unary_method(echo, MessageRoom())
    return asyncio.run(method.stream_unary(sent(), Context(size_bytes))), unread


@pytest.mark.parametrize("size_bytes", [1, SMALL_BYTES + 1], ids=["small", "large"])
def test_a_second_message_is_not_read(size_bytes: int) -> None:
    """It could be of any size, whatever the first one's is; that one is answered."""
    assert answered(size_bytes, b"a", b"b", b"c") == (b"a", [b"b", b"c"])


def test_an_empty_message_is_one() -> None:
    """Most methods' messages are."""
    assert answered(0, b"") == (b"", [])


@pytest.mark.parametrize("size_bytes", [0, SMALL_BYTES + 1], ids=["small", "large"])
def test_a_call_without_a_message_is_refused(size_bytes: int) -> None:
    """It is told that there is to be one."""
    with pytest.raises(AbortedError, match=refusals.NO_MESSAGE):
        answered(size_bytes)


def test_a_message_that_is_not_whole_in_time_is_refused() -> None:
    """Whoever announces much and sends nothing has the room of others for a while only."""
    room = MessageRoom(SMALL_BYTES + 1)

    async def silence() -> AsyncIterator[bytes]:
        await asyncio.Future()
        yield b""

    async def unasked(message: bytes, context: object) -> bytes:
        raise AssertionError((message, context))

    method = unary_method(unasked, room, limit_s=0.001)
    announced = f"within 0.001 s, it announced a message of {SMALL_BYTES + 1} bytes"
    with pytest.raises(AbortedError, match=announced):
        asyncio.run(method.stream_unary(silence(), Context(SMALL_BYTES + 1)))
    assert room.used_bytes == 0


def test_a_message_over_its_calls_limit_is_not_read() -> None:
    """It is refused by its announced size: to read and decode it costs everybody else time."""
    left = [b"a"]

    async def sent() -> AsyncIterator[bytes]:
        yield left.pop()

    async def size_of(message: bytes, context: object) -> int:
        del context
        return len(message)

    method = unary_method(size_of, MessageRoom(), max_bytes=SMALL_BYTES)
    with pytest.raises(AbortedError, match=rf"\({SMALL_BYTES + 1} vs\. {SMALL_BYTES}\)"):
        asyncio.run(method.stream_unary(sent(), Context(SMALL_BYTES + 1)))
    assert left
    assert asyncio.run(method.stream_unary(sent(), Context(SMALL_BYTES))) == 1
