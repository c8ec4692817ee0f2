"""HTTP/2 frames and gRPC messages that end other servers, sent by hand."""

import gzip

import pytest

from protos.generated import open_inference_pb2 as pb
from tests.fakes.hostile import (
    GRPC_INFER,
    GRPC_METADATA,
    GrpcReply,
    H2Client,
    Header,
    framed,
    grpc_headers,
)
from tests.fakes.standalone_server import Server
from tests.integration.hostile.conftest import X

SERVICE = "/inference.GRPCInferenceService/"
OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 0, 3, 8, 12
REQUEST = pb.ModelInferRequest(
    model_name="a",
    inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 16])],
    raw_input_contents=[X.tobytes()],
)


def call(address: str, path: bytes | str, content: bytes | None, *more: Header) -> GrpcReply:
    """Make one call; None sends no DATA frame at all."""
    with H2Client(address) as client:
        stream = client.begin(grpc_headers(path, *more), ends=content is None)
        if content is not None:
            client.data(stream, content, ends=True)
        return client.wait(stream)


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ("grpc", b"/inference.GRPCInferenceService/\xff\xfe"),
        ("grpc", b"/inference.\xff/ModelInfer"),
        ("grpc", b"/\xc3\x28/x"),
        ("http", b"/inference.GRPCInferenceService/\xff\xfe"),
        ("http", b"/grpc.\xff/x"),
    ],
)
def test_a_path_that_is_no_text(server: Server, port: str, path: bytes) -> None:
    """It is an unknown method, on either port, and the calls after it are answered."""
    for _ in range(3):
        assert call(getattr(server, port), path, framed(b"")).status == UNIMPLEMENTED
    assert call(server.grpc, GRPC_METADATA, framed(b"")).status == OK


@pytest.mark.parametrize(
    "method", ["ServerLive", "ServerMetadata", "ModelInfer", "RepositoryIndex", "ModelConfig"]
)
@pytest.mark.parametrize(
    "content", [None, b"", b"\0\0", b"\0\0\0\0\x09abc"], ids=["no frame", "empty", "cut", "short"]
)
def test_a_unary_call_without_its_message(
    server: Server, method: str, content: bytes | None
) -> None:
    """It is answered, as the client's mistake."""
    reply = call(server.grpc, SERVICE + method, content)
    assert reply.status == INVALID_ARGUMENT
    assert reply.is_ended


@pytest.mark.parametrize(
    "message",
    [b"\xff", b"\xff" * 100, b"", b"\x0a\x05a", b"\x0b", b"\x12\x011", b"\x0a\x00"],
    ids=["varint", "varints", "empty", "cut name", "group", "version alone", "empty name"],
)
def test_a_message_without_a_models_name(server: Server, message: bytes) -> None:
    """Garbage is told to be garbage, and not to be the name of an unknown model."""
    reply = call(server.grpc, GRPC_INFER, framed(message))
    assert (reply.status, reply.is_ended) == (INVALID_ARGUMENT, True)
    assert reply.message.startswith("malformed protobuf message, or one without a model name")


def test_a_message_in_any_number_of_frames(server: Server) -> None:
    """A frame for each of 66,000 bytes is a message as any other."""
    message = pb.ModelInferRequest(id="x" * 66_000)
    message.MergeFrom(REQUEST)
    content = framed(message.SerializeToString())
    with H2Client(server.grpc) as client:
        stream = client.begin(grpc_headers(GRPC_INFER))
        for at in range(len(content)):
            client.data(stream, content[at : at + 1], ends=at + 1 == len(content))
        reply = client.wait(stream)
    assert (reply.status, len(reply.data) > 66_000) == (OK, True)


@pytest.mark.parametrize("method", ["ServerLive", "ServerMetadata", "RepositoryIndex"])
def test_a_unary_call_with_two_messages(server: Server, method: str) -> None:
    """One call is one message."""
    reply = call(server.grpc, SERVICE + method, framed(b"") * 2)
    assert (reply.status, "second message" in reply.message) == (UNIMPLEMENTED, True)


@pytest.mark.parametrize("method", ["ServerLive", "ModelInfer"])
def test_a_second_message_that_fills_the_buffer(server: Server, method: str) -> None:
    """What is seen of it is enough to refuse the call, also where it is packed."""
    packed = gzip.compress(REQUEST.SerializeToString() if method == "ModelInfer" else b"")
    first = b"\x01" + len(packed).to_bytes(4, "big") + packed
    content = first + framed(bytes(100_000))
    reply = call(server.grpc, SERVICE + method, content, (b"grpc-encoding", b"gzip"))
    assert (reply.status, "second message" in reply.message) == (UNIMPLEMENTED, True)


@pytest.mark.parametrize("method", ["ModelInfer", "ServerMetadata"])
@pytest.mark.parametrize(
    ("header", "status"),
    [
        ((b"grpc-timeout", b"abc"), INVALID_ARGUMENT),
        ((b"grpc-timeout", b"999999999S"), INVALID_ARGUMENT),
        ((b"grpc-encoding", b"\xff\xfe"), UNIMPLEMENTED),
        ((b"grpc-encoding", b"snappy"), UNIMPLEMENTED),
        ((b"grpc-encoding", b"deflate"), OK),
        ((b"x-strange", b"\xff\xfe"), OK),
        ((b"x-strange-bin", b"!!!\xff"), OK),
        ((b"user-agent", b"\xff"), OK),
    ],
)
def test_metadata_that_cannot_be_parsed(
    server: Server, method: str, header: Header, status: int
) -> None:
    """It is the client's mistake, never INTERNAL; what means nothing here is ignored."""
    message = REQUEST.SerializeToString() if method == "ModelInfer" else b""
    assert call(server.grpc, SERVICE + method, framed(message), header).status == status


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"\0\xff\xff\xff\xff", RESOURCE_EXHAUSTED),
        (b"\x02\0\0\0\0", INVALID_ARGUMENT),
        (b"\x01\0\0\0\x05abcde", UNIMPLEMENTED),
        (framed(REQUEST.SerializeToString()) * 2, UNIMPLEMENTED),
        (framed(REQUEST.SerializeToString())[:-3], INVALID_ARGUMENT),
        (framed(REQUEST.SerializeToString()[:-3]), INVALID_ARGUMENT),
        (framed(b"\x0a\x01a" + b"\x0b" * 1_000_000), INVALID_ARGUMENT),
        (framed(b"\x0a\x01a" + b"\x2a\x00" * 100_000), INVALID_ARGUMENT),
        (framed(b"\x0a\x01a" + b"\x2a\x81\x81\x04" + b"\x18\x01" * 33_000), INVALID_ARGUMENT),
    ],
    ids=["4 GiB", "flag 2", "no gzip", "two", "cut frame", "cut", "groups", "inputs", "rank"],
)
def test_messages_that_lie(server: Server, content: bytes, status: int) -> None:
    """Lengths, flags and counts are not believed; the status is a client's mistake."""
    assert call(server.grpc, GRPC_INFER, content).status == status


@pytest.mark.parametrize("method", ["ServerMetadata", "RepositoryIndex"])
def test_a_packed_flag_without_a_coding(server: Server, method: str) -> None:
    """It is the client's mistake, never INTERNAL."""
    assert call(server.grpc, SERVICE + method, b"\x01\0\0\0\x02\xff\xff").status in {3, 12}


def test_a_packed_bomb_stops_at_the_limit(server: Server) -> None:
    """256 MiB inside a compressed message are refused at 64 MiB."""
    bomb = gzip.compress(bytes(256 << 20))
    content = b"\x01" + len(bomb).to_bytes(4, "big") + bomb
    reply = call(server.grpc, GRPC_INFER, content, (b"grpc-encoding", b"gzip"))
    assert reply.status == INVALID_ARGUMENT
    assert "67108864 bytes" in reply.message


@pytest.mark.parametrize(
    "frame",
    [
        b"\0\0\0\x09\0\0\0\0\0",
        b"\xff\xff\xff\0\0\0\0\0\x01",
        b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0",
        b"\0\0\x08\x06\0\0\0\0\x01" + bytes(8),
        b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\x01\xff",
        b"\0\0\x06\x04\0\0\0\0\0\0\x05\xff\xff\xff\xff",
        b"junk" * 100,
    ],
    ids=["continuation", "long data", "window 0", "ping", "priority", "settings", "junk"],
)
def test_frames_out_of_place(server: Server, frame: bytes) -> None:
    """A connection that breaks HTTP/2 ends alone."""
    with H2Client(server.grpc) as client:
        stream = client.begin(grpc_headers(GRPC_INFER))
        client.raw(frame)
        client.wait(stream)
    assert call(server.grpc, GRPC_METADATA, framed(b"")).status == OK


def test_streams_that_are_reset_at_once(server: Server) -> None:
    """Thousands of calls that are given up as soon as they begin leave the server answering."""
    with H2Client(server.grpc) as client:
        for _ in range(2000):
            client.reset(client.begin(grpc_headers(GRPC_METADATA)))
    assert call(server.grpc, GRPC_METADATA, framed(b"")).status == OK


def test_more_streams_than_a_connection_may_have(server: Server) -> None:
    """The limit is announced, a stream over it is refused, and those within it are answered."""
    with H2Client(server.grpc) as client:
        inside = [client.begin(grpc_headers(GRPC_METADATA)) for _ in range(100)]
        for stream in inside:
            client.data(stream, framed(b""), ends=True)
        assert {client.wait(stream).status for stream in inside} == {OK}
