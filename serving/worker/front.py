"""The worker's sockets: opened, drained, closed."""

import asyncio
import os
import socket
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState

from runtimes.errors import InvalidArgumentError
from serving.host_port import HostPort
from serving.niceness import end_niceness
from serving.worker.arguments import Arguments
from serving.worker.exchange import Desk
from serving.worker.hosting import Hosting
from serving.worker.listener import AsgiApp, InferProtocol

BACKLOG: Final = 4096
IDLE_CONNECTION_S: Final = 3600  # after an ASGI reply; the edge keeps its connections for later
POLL_S: Final = 0.02
STAND_BACK_S: Final = 60.0
"""Longest time at low priority: loading shall end on CPUs that are never idle, too."""
STAND_BACK_AGAIN_S: Final = 0.1
"""Between two tries to end it."""

log = structlog.get_logger(__name__)


class Front:
    """All listening sockets of the process and the connections that they accepted."""

    _config: Config
    _arguments: Arguments
    _tcp: socket.socket | None

    def __init__(self, desk: Desk, hosting: Hosting) -> None:
        """Open nothing yet: `open` comes first."""
        self._desk = desk
        self._hosting = hosting
        self._state = ServerState()
        self._servers: list[asyncio.AbstractServer] = []
        self._opening = asyncio.Lock()
        self.addresses: list[str] = []

    async def open(self, app: AsgiApp, arguments: Arguments) -> None:
        """Listen for control where the arguments say so, else for everything.

        The TCP port is bound at once, also where calls are taken later: if somebody has it, that
        shows before anything is loaded, and nobody gets it meanwhile.

        Raises:
            InvalidArgumentError: An address cannot be listened on.
        """
        self._arguments = arguments
        self._tcp = None if arguments.tcp is None else _tcp_socket(arguments.tcp)
        self._config = config = Config(
            app,
            http=InferProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=IDLE_CONNECTION_S,
            server_header=False,
            date_header=False,
        )
        config.load()
        if arguments.control is None:
            await self.take_calls()
        else:
            self._desk.loop.call_later(STAND_BACK_S, self._end_niceness)
            await self._listen(_unix_socket(arguments.control), is_local=True)

    async def take_calls(self) -> None:
        """Listen for calls, once.

        A worker that came back listens no sooner than it has loaded its versions: until then the
        edge finds nobody there and tries another worker of the pool.

        Raises:
            InvalidArgumentError: An address cannot be listened on.
        """
        async with self._opening:
            if not self.addresses:
                self._end_niceness()
                self.addresses = await self._open_for_calls()

    def _end_niceness(self) -> None:
        if not end_niceness():
            self._desk.loop.call_later(STAND_BACK_AGAIN_S, self._end_niceness)

    async def _open_for_calls(self) -> list[str]:
        opened: list[str] = []
        socket_path, tcp = self._arguments.socket, self._tcp
        if tcp is not None:
            host, port = tcp.getsockname()[:2]
            await self._listen(tcp, is_local=False)
            opened.append(f"{host}:{port}")
        if socket_path is not None:
            await self._listen(_unix_socket(socket_path), is_local=True)
            opened.insert(0, str(socket_path))
        return opened

    async def drain(self) -> None:
        """Refuse new calls; return when no accepted call is without its reply."""
        self._desk.is_draining = True
        await self._hosting.idle()
        while self._desk.open_count:  # noqa: ASYNC110  an event would cost every call
            await asyncio.sleep(POLL_S)

    async def close(self, drain_s: float) -> None:
        """Drain, then close the connections when their replies are written; both up to a limit."""
        for server in self._servers:
            server.close()
        try:
            async with asyncio.timeout(drain_s):
                await self.drain()
                for connection in list(self._state.connections):
                    connection.shutdown()
                while self._state.connections:  # noqa: ASYNC110  uvicorn's set has no event
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            log.warning(
                "drain_incomplete",
                drain_s=drain_s,
                open_calls=self._desk.open_count,
                connections=len(self._state.connections),
            )

    async def _listen(self, opened: socket.socket, *, is_local: bool) -> None:
        loop = self._desk.loop
        factory = partial(
            InferProtocol, self._desk, self._config, self._state, {"is_local": is_local}, loop
        )
        self._servers.append(await loop.create_server(factory, sock=opened, backlog=BACKLOG))


def _unix_socket(path: Path) -> socket.socket:
    """Bind a socket that only its owner can open; one that a dead worker left is replaced."""
    path.unlink(missing_ok=True)
    opened = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        opened.bind(str(path))
    except OSError as error:
        opened.close()
        raise InvalidArgumentError(f"cannot listen on '{path}': {error.strerror}") from error
    finally:
        os.umask(mask)
    return opened


def _tcp_socket(address: HostPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    opened = socket.socket(family)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # accepted sockets inherit it
    try:
        opened.bind((address.host, address.port))
    except OSError as error:
        opened.close()
        raise InvalidArgumentError(f"cannot listen on {address}: {error.strerror}") from error
    return opened
