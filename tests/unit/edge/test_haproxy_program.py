"""The replies that are compiled into HAProxy, and what takes their places."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.edge.haproxy_program import speaking_json
from serving.edge.haproxy_replies import HTTP_FAULTS

PHRASES = {400: "Bad request", 408: "Request Time-out", 500: "Internal Server Error", 418: "Teapot"}
FILL = "x" * 100


def compiled(status: int, text: str = FILL) -> bytes:
    """A reply as HAProxy's program has it."""
    body = f"<html><body><h1>{status}</h1>\n{text}\n</body></html>\n"
    head = f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-length: {len(body)}\r\n"
    return (
        f"{head}Cache-Control: no-cache\r\nContent-Type: text/html\r\n\r\n{body}".encode() + b"\0"
    )


PROGRAM = b"\x7fELF\0" + b"".join(compiled(status) for status in PHRASES) + b"\0code\xff"


@pytest.mark.parametrize("status", [400, 408, 500])
def test_its_replies_become_json(status: int) -> None:
    """Status and length are right, and the text is the one that the error file has."""
    found = speaking_json(PROGRAM)
    assert found is not None
    reply = found[found.index(f"HTTP/1.1 {status} ".encode()) :].split(b"\0")[0]
    head, _, body = reply.partition(b"\r\n\r\n")
    assert json.loads(body) == {"error": HTTP_FAULTS[status]}
    assert f"Content-Length: {len(body):03}" in head.decode().split("\r\n")
    assert "Content-Type: application/json" in head.decode().split("\r\n")


def test_nothing_else_moves() -> None:
    """What is around the replies stays where it is, byte for byte."""
    found = speaking_json(PROGRAM)
    assert found is not None
    assert len(found) == len(PROGRAM)
    assert found.startswith(b"\x7fELF\0")
    assert found.endswith(compiled(418) + b"\0code\xff")


def test_a_text_that_has_no_room_leaves_the_old_one() -> None:
    """A reply is whole or as it was."""
    short = PROGRAM.replace(compiled(408), compiled(408, ""))
    found = speaking_json(short)
    assert found is not None
    assert compiled(408, "") in found


@pytest.mark.parametrize(
    "program",
    [b"", PROGRAM + compiled(400), PROGRAM.replace(compiled(400), b"")],
    ids=["none", "twice", "one missing"],
)
def test_another_program_is_left_alone(program: bytes) -> None:
    """Only what is known is replaced."""
    assert speaking_json(program) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_another_program_or_keep_their_length(content: bytes) -> None:
    """Nothing around the replies can make it write more or less."""
    found = speaking_json(content + PROGRAM)
    assert found is not None
    assert (len(found), found[: len(content)]) == (len(content + PROGRAM), content)
