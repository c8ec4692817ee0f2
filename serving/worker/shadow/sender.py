"""Sends copies of calls to one worker: HTTP/1.1 over a unix socket or TCP, a message at a time.

By hand, because a live worker's loop does it: no library to load, no joined copy of the tensors.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from serving.wire.tensors import Buffer
from serving.worker.shadow.message import ShadowReply

PATH: Final = "/worker/shadow"
KEY_HEADER: Final = "bascule-shadow-key"
MAX_REPLY_BYTES: Final = 1 << 16
OK: Final = b"200"


class SilentTargetError(Exception):
    """The other worker closed the connection, refused, or answered something else."""


class ShadowSender:
    """One connection, opened when it is needed. Whoever uses it limits the time."""

    def __init__(self, target: str, key: str = "") -> None:
        """Remember whom to send to.

        Args:
            target: Path of a unix socket, or `host:port`.
            key: What a worker asks for that is reached by TCP.
        """
        self.target = target
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, parts: Sequence[Buffer]) -> ShadowReply:
        """Send one message and read what became of it.

        Raises:
            OSError: The target cannot be reached.
            SilentTargetError: It gave no answer.
        """
        if self._streams is None:
            self._streams = await self._connect()
        reader, writer = self._streams
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: shadow\r\n{KEY_HEADER}: {self._key}\r\n"
            f"content-length: {sum(map(len, parts))}\r\n\r\n"
        )
        writer.writelines([head.encode("ascii"), *parts])
        await writer.drain()
        try:
            return msgspec.json.decode(await _read_reply(reader), type=ShadowReply)
        except (EOFError, ValueError) as error:
            raise SilentTargetError(f"no answer: {error}") from error

    def close(self) -> None:
        """Close the connection; what was written and not read is lost."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.target.startswith("/"):
            return await asyncio.open_unix_connection(self.target)
        host, _, port = self.target.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))


async def _read_reply(reader: asyncio.StreamReader) -> bytes:
    """Read the body of a reply with a length.

    Raises:
        EOFError: The connection ended.
        ValueError: It is no such reply, or no success.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    length = 0
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if not 0 <= length <= MAX_REPLY_BYTES:
        raise ValueError(f"a reply of {length} bytes, at most {MAX_REPLY_BYTES} are read")
    body = await reader.readexactly(length)
    if status.split(b" ")[1:2] != [OK]:
        raise ValueError(f"{status.decode('latin-1')}: {body[:200].decode('latin-1')}")
    return body
