"""What hostile clients of the soak send; each attack gives its name and what came back.

Over HTTP that is the status (0: the connection ended without a reply, as it may); over gRPC the
HTTP status that the gRPC status stands for.
"""

import gzip
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import grpc

from serving.errors import WIRE

INFER: Final = "/v2/models/tiny/infer"
DEEP: Final = b"[" * 1_000_000
LIMIT_S: Final = 40.0
HALF_COUNT: Final = 40
CLIENT_MISTAKES: Final = frozenset({0, *range(200, 500), 501})
"""501 is UNIMPLEMENTED: a method or a coding that is not served."""
HTTP_OF_GRPC: Final = MappingProxyType({wire.grpc: wire.http for wire in WIRE.values()})
METHOD: Final = "/inference.GRPCInferenceService/"
X: Final = MappingProxyType({"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [0] * 16})


def http_attacks(address: str) -> Iterator[tuple[str, int]]:
    """Send each attack on a connection of its own."""
    for name, request in _http_requests().items():
        yield f"HTTP {name}", _status(address, request)


@contextmanager
def grpc_attacks(address: str) -> Iterator[Callable[[], Iterator[tuple[str, int]]]]:
    """Open a channel; gives what sends each attack."""
    with grpc.insecure_channel(address) as channel:
        yield lambda: _grpc_calls(channel, address)


@contextmanager
def half_requests(address: str) -> Iterator[int]:
    """Hold connections that have sent a part of a request."""
    opened = [_connect(address) for _ in range(HALF_COUNT)]
    for place, client in enumerate(opened):
        head = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n" % INFER.encode()
        client.sendall(head + (b"\r\n" + b"x" * 40_000 if place % 2 else b""))
    try:
        yield len(opened)
    finally:
        for client in opened:
            client.close()


def _http_requests() -> Mapping[str, bytes]:
    bodies: Mapping[str, bytes] = {
        "levels": DEEP,
        "truncated": b'{"inputs":[{"name":"x","shape":[1,16],"datatype":"FP32","data":[1,',
        "dimension": json.dumps({"inputs": [X | {"shape": [2**31, 2**31, 4]}]}).encode(),
        "numbers": json.dumps({"inputs": [X | {"data": [10**400] * 16}]}).encode(),
        "inputs": json.dumps({"inputs": [dict(X)] * 5000}).encode(),
        "types": json.dumps({"inputs": [X | {"shape": "a", "data": {}}]}).encode(),
        "region": json.dumps(
            {"inputs": [{**X, "data": None, "parameters": {"shared_memory_region": "r"}}]}
        ).encode(),
        "bytes": bytes(range(256)) * 100,
    }
    bomb = gzip.compress(bytes(80 << 20))
    head = f"POST {INFER} HTTP/1.1\r\nHost: h\r\n".encode()
    return {
        **{name: _post(INFER, body) for name, body in bodies.items()},
        "levels in gzip": _post(INFER, gzip.compress(DEEP), "Content-Encoding: gzip"),
        "bomb": _post(INFER, bomb, "Content-Encoding: gzip"),
        "levels, admin": _post("/v2/repository/index", DEEP),
        "header length": _post(INFER, b"{}", "Inference-Header-Content-Length: 999"),
        "name": _post("/v2/repository/models/..%2fx/load", b"{}"),
        "two lengths": head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "bad chunk": head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "long head": head + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
        "announced": head + b"Content-Length: 3000000000\r\n\r\n",
    }


def _post(path: str, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    return head.encode() + body


def _status(address: str, request: bytes) -> int:
    with _connect(address) as client:
        try:
            client.sendall(request)
            line = client.recv(1 << 16)
        except OSError:
            return 0
    return int(line.split(b" ", 2)[1]) if line.startswith(b"HTTP/") else 0


def _grpc_calls(channel: Any, address: str) -> Iterator[tuple[str, int]]:
    messages: Sequence[tuple[str, str, bytes]] = (
        ("no protobuf", "ModelInfer", b"\xff" * 200),
        ("no protobuf, metadata", "ModelMetadata", b"\xff" * 200),
        ("inputs", "ModelInfer", b"\x0a\x04tiny" + b"\x2a\x00" * 20_000),
        ("rank", "ModelInfer", b"\x0a\x04tiny\x2a\xc8\x01" + b"\x18\x01" * 100),
        ("unknown method", "Nothing", b""),
    )
    for name, method, message in messages:
        yield f"gRPC {name}", _grpc_status(channel, METHOD + method, message)
    for path in (b"/inference.GRPCInferenceService/\xff\xfe", b"/\xc3\x28/x"):
        _raw_headers(address, path)
        yield "gRPC path", 0


def _grpc_status(channel: Any, path: str, message: bytes) -> int:
    try:
        channel.unary_unary(path)(message, timeout=LIMIT_S)
    except grpc.RpcError as error:
        return HTTP_OF_GRPC.get(error.code().value[0], 500)
    return 200


def _raw_headers(address: str, path: bytes) -> None:
    """Send a HEADERS frame whose path is no text, and wait for an answer to it."""
    pairs = (
        *((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"h")),
        *((b"content-type", b"application/grpc"), (b"te", b"trailers")),
    )
    block = b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs
    )
    settings, headers = b"\0\0\0\4\0\0\0\0\0", len(block).to_bytes(3, "big") + b"\1\5\0\0\0\1"
    with _connect(address) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + headers + block)
        client.recv(1 << 16)


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), LIMIT_S)
