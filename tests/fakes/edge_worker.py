"""A worker as the edge sees it: a tiny HTTP/1.1 server on a unix socket that says what it got."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

READY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
BACKLOG = 1024  # a real worker has a larger one
GRPC_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One call that arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def _opened() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass(slots=True)
class EdgeWorker:
    """Answers every infer call with its own name and the version that the edge set."""

    name: str
    delay_s: float = 0.0
    statistics: bytes = b"[]"
    padding: str = ""
    """Makes its answers over HTTP longer."""
    dies: bool = False
    """Whether it leaves every infer call without an answer, as a killed process does."""
    readiness: asyncio.Event | None = None
    """It says that it is ready once this is set; None: at once."""
    asked_count: int = 0
    """How often it was asked whether it is ready."""
    counted_count: int = 0
    """How often it was asked what it has counted."""
    told: list[bytes] = field(default_factory=list)
    """The tables of shared memory regions that it was handed."""
    gate: asyncio.Event = field(default_factory=_opened)
    """Calls are answered while it is set."""
    begun: list[Seen] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    """Calls that were answered."""
    busiest_count: int = 0
    """Most calls that were there at once."""

    @contextlib.asynccontextmanager
    async def serving(self, socket: Path) -> AsyncIterator[Path]:
        """Listen on a socket for as long as the context is open."""
        server = await asyncio.start_unix_server(self._converse, str(socket), backlog=BACKLOG)
        connections = self._connections = set[asyncio.StreamWriter]()
        try:
            yield socket
        finally:
            server.close()
            for connection in connections:
                connection.transport.abort()
            socket.unlink(missing_ok=True)  # noqa: ASYNC240  a test

    async def until_begun(self, count: int) -> None:
        """Return when so many calls have arrived."""
        while len(self.begun) < count:  # noqa: ASYNC110  this fake has no event
            await asyncio.sleep(0.01)

    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                writer.write(await self._answer(await _read_call(reader)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()
        finally:
            self._connections.discard(writer)

    async def _answer(self, call: Seen) -> bytes:
        if call.target == "/v2/health/ready":
            self.asked_count += 1
            if self.readiness is not None:
                await self.readiness.wait()
            return READY
        if call.target == "/worker/statistics":
            self.counted_count += 1
            return _plain(self.statistics)
        if call.target == "/worker/regions":
            self.told.append(call.body)
            return _plain(b"[]")
        self.begun.append(call)
        self.busiest_count = max(self.busiest_count, len(self.begun) - len(self.seen))
        if self.dies:
            raise ConnectionAbortedError
        await asyncio.sleep(self.delay_s)
        await self.gate.wait()
        self.seen.append(call)
        version = call.headers.get("bascule-version", "")
        if call.target.startswith("/inference."):
            return _grpc_reply(self.name.encode(), version.encode())
        answer = {"model_name": self.name, "model_version": version, "outputs": []}
        padding = {"parameters": {"padding": self.padding}} if self.padding else {}
        return _plain(msgspec.json.encode(answer | padding))


async def _read_call(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (part.partition(": ") for part in rest)}
    if headers.get("transfer-encoding") == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = line.split(" ")
    return Seen(method, target, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _plain(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _grpc_reply(name: bytes, version: bytes) -> bytes:
    """A ModelInferResponse with model_name (1) and model_version (2)."""
    message = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(version)]) + version
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    chunk = f"{len(frame):x}\r\n".encode() + frame + b"\r\n0\r\ngrpc-status: 0\r\n\r\n"
    return GRPC_HEAD + chunk
