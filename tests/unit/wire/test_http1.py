"""Heads of HTTP/1.1 replies."""

import json

import pytest

from runtimes.errors import InvalidArgumentError
from serving.errors import QueueFullError, QueueTimeoutError, UnsupportedCodingError
from serving.wire import http1
from serving.wire.v2_json import JsonReply


def test_json_reply() -> None:
    """A reply without tail is JSON with its length."""
    assert http1.infer_reply(JsonReply(b"{}")) == [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    ]


def test_binary_reply() -> None:
    """A reply with a tail announces the length of its JSON, and of the whole."""
    expected = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
        b"inference-header-content-length: 2\r\ncontent-length: 5\r\n"
        b"connection: close\r\n\r\n{}abc"
    )

    assert http1.infer_reply(JsonReply(b"{}", (b"ab", b"c"), 2), close=True) == [expected]


def test_large_tail_is_not_copied() -> None:
    """A large tail stays in its own buffers."""
    large = memoryview(bytes(1 << 17))

    reply = http1.infer_reply(JsonReply(b"{}", (large,), 2))

    assert reply[1] is large
    assert b"content-length: 131074\r\n" in bytes(reply[0])


@pytest.mark.parametrize(
    ("header_length", "expected"),
    [
        (None, b"content-type: application/json\r\ncontent-encoding: gzip\r\n"),
        (
            7,
            (
                b"content-type: application/octet-stream\r\ncontent-encoding: gzip\r\n"
                b"inference-header-content-length: 7\r\n"
            ),
        ),
    ],
    ids=["json", "binary"],
)
def test_packed_reply(header_length: int | None, expected: bytes) -> None:
    """A compressed reply names its coding; the header length counts uncompressed bytes."""
    reply = http1.packed_infer_reply(b"zz", JsonReply(b"", (), header_length), coding="gzip")

    assert b"".join(reply) == (b"HTTP/1.1 200 OK\r\n" + expected + b"content-length: 2\r\n\r\nzz")


def test_error_reply() -> None:
    """An error is a JSON object with the text, and its type has no charset."""
    head, _, body = http1.error_reply(InvalidArgumentError('no "é"\ud800')).partition(b"\r\n\r\n")

    assert json.loads(body) == {"error": 'no "é"?'}
    assert head == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d"
        % len(body)
    )


def test_retryable_errors_say_so() -> None:
    """A full queue answers 503 with Retry-After."""
    reply = http1.error_reply(QueueFullError("Exceeds maximum queue size"))

    assert reply.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 1\r\n" in reply


def test_a_refusal_may_say_how_long_the_queue_takes() -> None:
    """Retry-After is what the refusal says."""
    reply = http1.error_reply(QueueTimeoutError("Request timeout expired", retry_after_s=7))

    assert b"\r\nretry-after: 7\r\n" in reply


def test_unknown_coding_names_the_known_ones() -> None:
    """A coding that we do not read is answered with those that we do."""
    reply = http1.error_reply(UnsupportedCodingError("Unsupported compression type"))

    assert reply.startswith(b"HTTP/1.1 415 ")
    assert b"\r\naccept-encoding: gzip, deflate\r\n" in reply
