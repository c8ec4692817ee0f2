"""Fast path. HTTP/1.1: infer calls leave before ASGI begins, everything else goes on to it.

A subclass of uvicorn's protocol. An infer call never builds a scope, an event, a task or a timer.
All requests of a connection, of both kinds, stand in one line in the order in which they came::

    head of line            what happens
    exchange with reply     written; next
    exchange without reply  wait: it flushes the line when it has one
    ASGI cycle              started when it becomes the head; next when uvicorn reports its end

It is one class because uvicorn's protocol is one: parser callbacks and line share its state.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.wire import http1
from serving.wire.tensors import Buffer
from serving.worker.exchange import Desk, Exchange
from serving.worker.grpc_exchange import GrpcExchange
from serving.worker.http_exchange import HttpExchange
from serving.worker.known_heads import KnownHead
from serving.worker.shadow.mirrored_exchange import MirroredGrpcExchange, MirroredHttpExchange
from serving.worker.targets import GRPC_INFER

MAX_IN_FLIGHT: Final = 32  # pipelined calls of one connection that may hold replies at a time
LINGER_S: Final = 2.0  # how long the rest of a refused body is read before the connection closes
CONTINUES: Final = b"100-continue"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

AsgiApp = Callable[..., Any]


class AsgiTurn:
    """A request for ASGI that stands in line."""

    __slots__ = ("app", "cycle")

    def __init__(self, cycle: RequestResponseCycle, app: AsgiApp) -> None:
        """Remember what to start when its turn comes."""
        self.cycle = cycle
        self.app = app


class InferProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        desk: Desk,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Prepare for a connection."""
        super().__init__(config, server_state, app_state, loop)
        self._desk = desk
        # Per connection
        self._line: deque[Exchange | AsgiTurn] = deque()
        self._running: AsgiTurn | None = None
        self._parked: deque[Exchange] = deque()
        self._in_flight_count = 0
        self._is_unparking = False
        # Per request
        self._exchange: Exchange | None = None
        self._is_between = True
        """Whether the parser has seen all of a request, or nothing yet."""
        self._taken: Exchange | None = None
        """The infer call of the request before, for a moment."""
        self._begun_count = 0
        """Requests that began in the bytes that the parser reads."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what the client waited for."""
        for turn in self._line:
            if isinstance(turn, Exchange):
                turn.cancel()
                self._desk.open_count -= 1
        self._line.clear()
        self._parked.clear()
        self._desk.unsent.end(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a malformed request ends the connection with a JSON error."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        is_between = self._is_between
        if is_between and not self._parked and not self.flow.write_paused:
            known = self._desk.heads.split(data)
            if known is not None and self._take(*known):
                return
        self._begun_count = 0
        try:
            self.parser.feed_data(data)
            taken, self._taken = self._taken, None
            is_alone = is_between and self._is_between and self._begun_count == 1
            if is_alone and taken is not None:
                self._desk.heads.remember(data, self.url, taken.headers)
        except httptools.HttpParserUpgrade:
            # the request was served as if it had not asked; bytes after it are dropped
            self._is_between, self._taken = False, None
        except httptools.HttpParserError as error:
            self._end_malformed(InvalidArgumentError(f"malformed HTTP request: {error}"))

    def on_message_begin(self) -> None:
        """Start the next request; ASGI's part of the work is left until it is needed."""
        self.url = b""
        self.headers = []
        self._exchange = self._taken = None
        self._is_between = False
        self._begun_count += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what it means is asked when all are there."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Decide whose request this is."""
        exchange = None
        if self.parser.get_method() == b"POST":
            keep_alive = self.parser.should_keep_alive()
            exchange = self._open_exchange(self.url, dict(self.headers), keep_alive=keep_alive)
        if exchange is None:
            self._begin_asgi()
            return
        self._exchange = exchange
        self._line.append(exchange)
        self._desk.open_count += 1
        try:
            exchange.open_body()
        except BasculeError as error:
            exchange.refuse(error)
            return
        if exchange.headers.get(b"expect", b"").lower() == CONTINUES and self._line[0] is exchange:
            self.transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the current request's body."""
        exchange = self._exchange
        if exchange is None:
            super().on_body(body)
        elif exchange.body is not None:
            try:
                exchange.body.add(body)
            except BasculeError as error:
                exchange.refuse(error)

    def on_message_complete(self) -> None:
        """Start the current request's call, unless the client reads too slowly."""
        exchange = self._exchange
        self._is_between = self.parser.should_keep_alive()
        if exchange is None:
            super().on_message_complete()
            return
        self._exchange = None
        self._taken = exchange
        exchange.is_complete = True
        if exchange.is_written:  # refused, and now read to its end
            self.transport.close()
        elif self._parked or self.flow.write_paused or self._in_flight_count >= MAX_IN_FLIGHT:
            self._parked.append(exchange)
            self.flow.pause_reading()
        else:
            self._in_flight_count += 1
            exchange.start()

    def flush(self) -> None:
        """Write the replies that are next in line, and start the ASGI request that is."""
        line = self._line
        while line:
            head = line[0]
            if isinstance(head, AsgiTurn):
                self._run_asgi(head)
                break
            if head.reply is None or not self._write(head):
                break
            line.popleft()
        if self._parked:
            self._unpark()

    def pause_writing(self) -> None:
        """Count what waits for the client to read."""
        super().pause_writing()
        self._desk.unsent.begin(self.transport)

    def resume_writing(self) -> None:
        """Go on with parked calls: the client has read what it was sent."""
        super().resume_writing()
        self._desk.unsent.end(self.transport)
        if self._parked:
            self._unpark()

    def on_response_complete(self) -> None:
        """Let the next in line go on after an ASGI reply."""
        if self._running is not None and self._line and self._line[0] is self._running:
            self._line.popleft()
        self._running = None
        super().on_response_complete()
        self.flush()

    def shutdown(self) -> None:
        """End after the reply of what has been received; at once if nothing has."""
        if not self._line:
            self.transport.close()
            return
        last = self._line[-1]
        if isinstance(last, Exchange):
            last.keep_alive = False
        else:
            last.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: AsgiApp) -> None:
        """Put a request for ASGI in line; uvicorn calls this when it knows of none before it."""
        self._line.append(AsgiTurn(cycle, app))
        self.flush()

    def _open_exchange(
        self, url: bytes, headers: dict[bytes, bytes], *, keep_alive: bool
    ) -> Exchange | None:
        desk = self._desk
        if url == GRPC_INFER:
            grpc = GrpcExchange if desk.mirrors is None else MirroredGrpcExchange
            return grpc(desk, self, headers, keep_alive=keep_alive)
        target = desk.targets.find(url)
        if target is None:
            return None
        http = HttpExchange if desk.mirrors is None else MirroredHttpExchange
        exchange = http(desk, self, headers, keep_alive=keep_alive)
        exchange.target = target
        return exchange

    def _take(self, head: KnownHead, body: bytes) -> bool:
        """Start a call that came in one piece without the parser, unless the call has to wait."""
        if self._in_flight_count >= MAX_IN_FLIGHT:
            return False
        exchange = self._open_exchange(head.target, head.headers, keep_alive=True)
        if exchange is None:
            return False
        self._line.append(exchange)
        self._desk.open_count += 1
        self._in_flight_count += 1
        exchange.is_complete = True
        exchange.take(body)
        return True

    def _end_malformed(self, refusal: InvalidArgumentError) -> None:
        """End the connection, after the replies of what came before: no call gets another's."""
        last = self._line[-1] if self._line else None
        if self._exchange is not None:
            self._exchange.refuse(refusal)
        elif last is not None and not (isinstance(last, AsgiTurn) and last.cycle.more_body):
            self.shutdown()
        else:
            if len(self._line) <= 1:
                self.transport.write(http1.error_reply(refusal, close=True))
            self.transport.close()

    def _begin_asgi(self) -> None:
        """Rebuild what uvicorn expects at this point, and let it go on."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == CONTINUES for name, value in headers
        )
        self.headers.extend(headers)
        super().on_headers_complete()
        while self.pipeline:  # uvicorn queues what comes while its newest reply is unfinished
            cycle, app = self.pipeline.pop()
            self._line.append(AsgiTurn(cycle, app))

    def _run_asgi(self, turn: AsgiTurn) -> None:
        if turn is not self._running:
            self._running = turn
            self._unset_keepalive_if_required()
            super()._start_asgi_task(turn.cycle, turn.app)

    def _write(self, exchange: Exchange) -> bool:
        """Write one reply; say whether the line may go on."""
        parts = exchange.reply or ()
        transport = self.transport
        if transport.is_closing():
            return False
        if len(parts) == 1:
            transport.write(parts[0])
        else:
            self._write_large(exchange, parts)
        exchange.is_written = True
        if exchange.is_complete:  # else it was refused, and never in flight
            self._in_flight_count -= 1
        self._desk.open_count -= 1
        if exchange.keep_alive:
            return True
        self._line.popleft()
        if exchange.is_complete:
            transport.close()
        else:
            self.loop.call_later(LINGER_S, transport.close)
        return False

    def _write_large(self, exchange: Exchange, parts: Sequence[Buffer]) -> None:
        """Write a reply without copying its tensors, unless too much waits for slow clients."""
        refusal = self._desk.unsent.refusal(parts)
        if refusal is not None:
            exchange.withdraw(refusal)
            parts = exchange.reply or ()
        self.transport.writelines(parts)

    def _unpark(self) -> None:
        """Start parked calls while the client reads; then read on.

        A call that fails at once flushes the line, which comes back here: the outer loop goes on.
        """
        if self._is_unparking:
            return
        self._is_unparking = True
        parked = self._parked
        while parked and not self.flow.write_paused and self._in_flight_count < MAX_IN_FLIGHT:
            self._in_flight_count += 1
            parked.popleft().start()
        self._is_unparking = False
        if not self._parked and not self.flow.write_paused:
            self.flow.resume_reading()
