"""gRPC frames, timeouts, messages and replies as HTTP/1.1 carries them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.errors import BasculeError, InvalidArgumentError, UnsupportedError
from serving.errors import QueueFullError
from serving.wire import grpc_frame


@settings(deadline=None)
@given(st.binary(max_size=40), st.booleans())
def test_deframe_gives_the_message(message: bytes, compressed: bool) -> None:  # noqa: FBT001  a test's parameter
    """The message comes out as it went in, with its flag."""
    body = bytes((compressed,)) + len(message).to_bytes(4, "big") + message

    frame = grpc_frame.deframe(body)

    assert (bytes(frame.message), frame.compressed) == (message, compressed)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"", InvalidArgumentError, "gRPC frame of 0 bytes: at least 5 expected"),
        (b"\0\0\0\0", InvalidArgumentError, "gRPC frame of 4 bytes: at least 5 expected"),
        (b"\2\0\0\0\0", InvalidArgumentError, "flag 2"),
        (b"\0\0\0\0\2a", InvalidArgumentError, "announces 2 bytes, but 1 came"),
        (b"\0\0\0\0\1a\0\0\0\0\0", UnsupportedError, "exactly one message"),
        (b"\0\xff\xff\xff\xff", InvalidArgumentError, "announces 4294967295 bytes"),
    ],
    ids=["empty", "cut head", "flag", "cut message", "two messages", "huge"],
)
def test_bad_frames(body: bytes, kind: type[BasculeError], message: str) -> None:
    """A body that is not exactly one frame is refused."""
    with pytest.raises(kind) as caught:
        grpc_frame.deframe(body)

    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"4m", 0.004),
        (b"30100m", 30.1),
        (b"3610S", 3610.0),
        (b"2M", 120.0),
        (b"1H", 3600.0),
        (b"7u", 7e-6),
        (b"99999999n", 0.099999999),
    ],
)
def test_timeouts(text: bytes, seconds: float) -> None:
    """Every unit of grpc-timeout is read."""
    assert grpc_frame.timeout_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [b"", b"m", b"5", b"5x", b"-5m", b"123456789S", b"1.5S", b"\xb2S"])
def test_bad_timeouts(text: bytes) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidArgumentError, match="invalid grpc-timeout"):
        grpc_frame.timeout_s(text)


def test_success_is_one_chunk_and_trailers() -> None:
    """A small reply is one buffer: head, one chunk with the frame, grpc-status 0 as trailer."""
    reply = grpc_frame.success([b"abc", b"de"])

    expected = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n"
        b"a\r\n\0\0\0\0\x05abcde\r\n0\r\ngrpc-status: 0\r\n\r\n"
    )
    assert reply == [expected]


def test_large_message_is_not_copied() -> None:
    """A large message stays in its own buffers, and its chunk is as long as they are."""
    large = memoryview(bytes(1 << 17))

    reply = grpc_frame.success([b"ab", large])

    assert reply[2] is large
    assert b"\r\n\r\n20007\r\n\0\0\x02\0\x02" in bytes(reply[0])


def test_failure_is_trailers_only() -> None:
    """A failed call has no chunk; status and percent-encoded text are trailers."""
    reply = grpc_frame.failure(QueueFullError("voll: 100% é\n"), close=True)

    assert reply == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n"
        b"connection: close\r\n\r\n"
        b"0\r\ngrpc-status: 14\r\ngrpc-message: voll: 100%25 %C3%A9%0A\r\n\r\n"
    )


def test_endless_messages_are_cut() -> None:
    """A message made of a client's endless name still fits into a header."""
    reply = grpc_frame.failure(InvalidArgumentError("é" * 10_000_000))

    assert len(reply) < 16_000


@settings(deadline=None)
@given(st.text())
def test_messages_are_printable_ascii(text: str) -> None:
    """Whatever the text, a trailer line stays one line of printable ASCII."""
    assert all(0x20 <= byte < 0x7F for byte in grpc_frame.grpc_message(text))


def test_printable_characters_stay() -> None:
    """Printable ASCII but `%` is not escaped."""
    assert grpc_frame.grpc_message("input 'x' [-1,16] ~") == b"input 'x' [-1,16] ~"
