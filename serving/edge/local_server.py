"""An ASGI application on a unix socket that only the owner can open, inside a running loop."""

import asyncio
import contextlib
import pwd
import socket
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from runtimes.errors import InvalidArgumentError
from serving.edge.departure import SCOPE_KEY, Departure
from serving.unsent import UnsentReplies
from serving.wire import http1

BACKLOG: Final = 4096
"""Connections that wait to be accepted; with more, HAProxy is refused, and its clients get 503."""
GRACE_S: Final = 5
# HAProxy keeps idle connections for a minute; the side that listens must be the more patient one.
KEEP_ALIVE_S: Final = 3600
MAX_UNSENT_BYTES: Final = 256 << 20
"""Of replies that clients do not read; with more, large ones are refused."""
PATIENT_BYTES: Final = 64 << 20
"""While fewer wait, clients may rest as long as they like."""
SMALL_BYTES: Final = 64 << 10
"""Replies of such a size are always sent."""
UNSENT_KEY: Final = "bascule.unsent"
"""Where a request's scope has what waits for clients of its server."""
CREDENTIALS: Final = struct.Struct("3i")
"""The kernel's `ucred`: process, user, group."""


class LocalServer:
    """Serves one application; `run` is a task of the process's group."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        """Open the socket: connections wait there until `run` accepts them."""
        self._path = path
        self._socket = _private_socket(path)
        self._server = _Server(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    async def run(self) -> None:
        """Answer until `stop` is called; connections then have a few seconds to finish."""
        loop = asyncio.get_running_loop()
        unsent = UnsentReplies(loop, MAX_UNSENT_BYTES, patient_bytes=PATIENT_BYTES)
        protocol: Any = partial(_LocalProtocol, unsent)  # declared as a class, only called
        self._server.config.http = protocol
        await self._server.serve(sockets=[self._socket])
        self._path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Let `run` come to its end."""
        self._server.should_exit = True


class _LocalProtocol(HttpToolsProtocol):
    """Answers with JSON what is no HTTP request, too; the client's host is the name of its user."""

    def __init__(
        self,
        unsent: UnsentReplies,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Prepare for a connection; take its server's count of what clients do not read."""
        super().__init__(config, server_state, app_state, _loop)
        self._unsent = unsent

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Ask the kernel who connected."""
        super().connection_made(transport)
        self.client = (_user_of(transport.get_extra_info("socket")), 0)
        self._departure = Departure()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is done for the client alone."""
        self._departure.begin()
        self._unsent.end(self.transport)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Let the request know when its client leaves, and what waits for others."""
        super().on_headers_complete()
        self.scope[SCOPE_KEY] = self._departure  # type: ignore[typeddict-unknown-key]  # our own
        self.scope[UNSENT_KEY] = self._unsent  # type: ignore[typeddict-unknown-key]  # our own

    def pause_writing(self) -> None:
        """Count what waits for the client to read."""
        super().pause_writing()
        self._unsent.begin(self.transport)

    def resume_writing(self) -> None:
        """Count it no longer."""
        super().resume_writing()
        self._unsent.end(self.transport)

    def send_400_response(self, msg: str) -> None:
        """Refuse the request and end the connection."""
        self.transport.write(http1.error_reply(InvalidArgumentError(msg), close=True))
        self.transport.close()


def refuse_unread(scope: Mapping[str, Any], reply: bytes | memoryview) -> None:
    """Refuse a large reply where too much waits for clients that do not read.

    Args:
        scope: The request's; without a local server's count, nothing is refused.
        reply: Its body.

    Raises:
        QueueFullError: There is no room for it.
    """
    unsent = scope.get(UNSENT_KEY)
    if not isinstance(unsent, UnsentReplies) or len(reply) <= SMALL_BYTES:
        return
    refusal = unsent.refusal((reply,))
    if refusal is not None:
        raise refusal


class _Server(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers."""
        yield


def _user_of(connection: socket.socket) -> str:
    """Return the name of the user whose process is at the other end of a unix socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, _ = CREDENTIALS.unpack(raw)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _private_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(BACKLOG)
    listener.setblocking(False)  # noqa: FBT003  the standard library's signature
    return listener
