"""Clients that break the rules: raw HTTP/1.1 bytes, and HTTP/2 frames that no library sends."""

import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions

LIMIT_S: Final = 90.0
PIECE_BYTES: Final = 1 << 16
GRPC_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
GRPC_METADATA: Final = "/inference.GRPCInferenceService/ServerMetadata"

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One HTTP/1.1 reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The text of a JSON error."""
        answer: dict[str, str] = json.loads(self.body)
        return answer["error"]


class RawHttp:
    """One TCP connection that sends what it is told."""

    def __init__(self, address: str) -> None:
        """Connect to HOST:PORT."""
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), LIMIT_S)
        self._unread = b""

    def __enter__(self) -> Self:
        """Use it as a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._socket.close()

    def send(self, data: bytes) -> Self:
        """Send bytes as they are."""
        self._socket.sendall(data)
        return self

    def finish_sending(self) -> Self:
        """Close our half of the connection."""
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def read(self) -> HttpReply:
        """Read the next reply, whose body has a length."""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (part.partition(":") for part in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        size = int(headers.get("content-length", "0"))
        self._unread = rest
        while len(self._unread) < size:
            self._more()
        body, self._unread = self._unread[:size], self._unread[size:]
        return HttpReply(int(line.split(" ")[1]), headers, body)

    def rest(self) -> bytes:
        """Everything that comes until the server closes the connection."""
        try:
            while True:
                self._more()
        except (ConnectionError, OSError):
            return self._unread

    def is_closed(self) -> bool:
        """Whether the server closes the connection without another byte."""
        try:
            return not self._unread and not self._socket.recv(1)
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        piece = self._socket.recv(PIECE_BYTES)
        if not piece:
            raise ConnectionError(f"closed in the middle of a reply: {self._unread[:200]!r}")
        self._unread += piece


def post(path: str, body: bytes, **headers: str) -> bytes:
    """Write a request with a body; names of headers have `_` for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n{''.join(lines)}\r\n"
    return head.encode() + body


def ask(address: str, request: bytes) -> HttpReply:
    """Send one request on a connection of its own."""
    with RawHttp(address) as client:
        return client.send(request).read()


@dataclass(slots=True)
class GrpcReply:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    is_reset: bool = False
    is_ended: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self.is_ended or self.is_reset

    @property
    def status(self) -> int:
        """The gRPC status number; -1 for a stream without one."""
        return int(self.headers.get("grpc-status", "-1"))

    @property
    def message(self) -> str:
        """The text of the status."""
        return self.headers.get("grpc-message", "")


class H2Client:
    """One HTTP/2 connection whose frames are checked by nobody."""

    def __init__(self, address: str) -> None:
        """Connect to HOST:PORT and exchange settings."""
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), LIMIT_S)
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.initiate_connection()
        self.replies: dict[int, GrpcReply] = {}
        self.is_closed = False
        self._flush()

    def __enter__(self) -> Self:
        """Use it as a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._socket.close()

    def begin(self, headers: Iterable[Header], *, ends: bool = False) -> int:
        """Send a HEADERS frame; return the stream's number."""
        stream: int = self._h2.get_next_available_stream_id()
        self.replies[stream] = GrpcReply()
        self._h2.send_headers(stream, list(headers), end_stream=ends)
        self._flush()
        return stream

    def data(self, stream: int, content: bytes, *, ends: bool = False) -> None:
        """Send DATA frames, as the server's windows allow."""
        left = memoryview(content)
        while not (self.is_closed or self.replies[stream].is_over):
            room = self._h2.local_flow_control_window(stream)
            size = min(room, self._h2.max_outbound_frame_size, len(left))
            if size or not left:
                is_last = size == len(left)
                self._h2.send_data(stream, left[:size].tobytes(), end_stream=ends and is_last)
                self._flush()
                left = left[size:]
                if is_last:
                    return
            else:
                self._read()

    def reset(self, stream: int) -> None:
        """Give a stream up."""
        self._h2.reset_stream(stream)
        self._flush()

    def raw(self, content: bytes) -> None:
        """Send bytes that may be no frame."""
        self._socket.sendall(content)

    def wait(self, stream: int) -> GrpcReply:
        """Read until a stream has ended, or the connection."""
        reply = self.replies[stream]
        while not (reply.is_over or self.is_closed):
            self._read()
        return reply

    def _read(self) -> None:
        try:
            piece = self._socket.recv(PIECE_BYTES)
        except ConnectionResetError:
            piece = b""
        if not piece:
            self.is_closed = True
            return
        try:
            for event in self._h2.receive_data(piece):
                self._note(event)
            self._flush()
        except (h2.exceptions.ProtocolError, OSError):
            self.is_closed = True

    def _note(self, event: h2.events.Event) -> None:
        reply = self.replies.get(getattr(event, "stream_id", None) or 0, GrpcReply())
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            pairs = event.headers or ()
            reply.headers |= {bytes(k).decode(): bytes(v).decode() for k, v in pairs}
        elif isinstance(event, h2.events.DataReceived):
            reply.data += event.data or b""
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            reply.is_ended = True
        elif isinstance(event, h2.events.StreamReset):
            reply.is_reset = True
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.is_closed = True

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())


def grpc_headers(path: bytes | str, *more: Header) -> Sequence[Header]:
    """The headers of a gRPC call."""
    return (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path if isinstance(path, bytes) else path.encode()),
        (b":authority", b"h"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *more,
    )


def framed(message: bytes) -> bytes:
    """A message as gRPC carries it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


@contextmanager
def connections(address: str, count: int) -> Iterator[list[RawHttp]]:
    """Many connections at once."""
    opened = [RawHttp(address) for _ in range(count)]
    try:
        yield opened
    finally:
        for each in opened:
            each.__exit__()
