"""Sends a call that waited for a worker into the edge again, as it came: HTTP."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from yarl import URL

from serving.edge.json_body import LEFT
from serving.edge.sleepers import MODEL_HEADER, VERSION_HEADER, WOKEN_HEADER
from serving.errors import CancelledCallError, NotReadyError

LIMIT_S: Final = 310.0
"""A little more than the edge gives an inference, so that its answer is the one that is told."""
OF_THE_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect"}
)
"""Headers that say something of one connection only."""
OURS: Final = frozenset({MODEL_HEADER, VERSION_HEADER, WOKEN_HEADER})


class CallRelay:
    """Passes calls on. Belongs to one event loop."""

    def __init__(self, edge: Path) -> None:
        """Take the edge's own socket for HTTP; nothing is connected yet."""
        self._edge = edge

    async def ask(self, request: Request, more: Mapping[str, str]) -> Response:
        """Pass a call on while its body is read, and return the reply.

        Args:
            request: As it came.
            more: Headers besides its own.

        Raises:
            NotReadyError: The edge does not answer.
            CancelledCallError: The client left.
        """
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name not in OF_THE_HOP and name not in OURS
        ]
        url = URL(f"http://local{request.scope['raw_path'].decode('latin-1')}", encoded=True)
        connector = aiohttp.UnixConnector(path=str(self._edge))
        limit = aiohttp.ClientTimeout(total=LIMIT_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
                session.post(
                    url,
                    data=request.stream(),
                    headers=[*headers, *more.items()],
                    timeout=limit,
                ) as reply,
            ):
                return _reply(reply, await reply.read())
        except ClientDisconnect as error:
            raise CancelledCallError(LEFT) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReadyError(f"the edge did not answer: {type(error).__name__}") from error


def _reply(reply: aiohttp.ClientResponse, body: bytes) -> Response:
    response = Response(body, reply.status)
    response.raw_headers = [
        (name.lower(), value)
        for name, value in reply.raw_headers
        if name.lower().decode() not in OF_THE_HOP
    ]
    return response
