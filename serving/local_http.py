"""HTTP to our own processes on this machine: JSON over a unix socket, every call with a limit."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from serving.errors import NotReadyError


@dataclass(frozen=True, slots=True)
class LocalReply:
    """Status and whole body of a reply."""

    status: int
    body: bytes


class LocalHttp:
    """A client of one unix socket; connections are kept. An async context manager."""

    def __init__(self, socket: str) -> None:
        """Remember the socket's path; nothing is connected yet."""
        self._socket = socket
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=socket), auto_decompress=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the kept connections."""
        await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        timeout_s: float = 5.0,
        headers: Mapping[str, str] | None = None,
    ) -> LocalReply:
        """Send one request and read the whole reply.

        Raises:
            NotReadyError: Nobody listens there, or no reply came in time.
        """
        async with self._request(method, path, body, timeout_s, headers) as response:
            return LocalReply(response.status, await response.read())

    async def lines(
        self, method: str, path: str, body: bytes = b"", *, timeout_s: float = 600.0
    ) -> AsyncIterator[bytes]:
        """Send one request and yield the reply's lines as they come.

        Raises:
            NotReadyError: Nobody listens there, the reply is no success, or it broke off.
        """
        async with self._request(method, path, body, timeout_s) as response:
            if response.status != 200:  # noqa: PLR2004  HTTP's OK
                text = (await response.read()).decode(errors="replace")
                raise NotReadyError(f"{method} {path}: status {response.status}: {text[:500]}")
            buffer = b""
            async for chunk in response.content.iter_any():
                *done, buffer = (buffer + chunk).split(b"\n")
                for line in done:
                    yield line

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        body: bytes,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if not _is_there(self._socket):  # a look costs a hundredth of a try
            raise NotReadyError(f"{method} {path}: nobody has opened {self._socket} yet")
        limit = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.request(
                method, f"http://local{path}", data=body, timeout=limit, headers=headers
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReadyError(
                f"{method} {path} at {self._socket}: {type(error).__name__}: {error}"
            ) from error


def _is_there(socket: str) -> bool:
    return Path(socket).exists()
