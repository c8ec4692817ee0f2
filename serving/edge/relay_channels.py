"""Connections into the edge for the calls that the gRPC front desk sends in again.

HAProxy takes a bounded number of calls on a connection at a time. A call that waits for a worker
holds its place there, and needs another one to go on: on the same connection, calls that wait could
keep each other, and everybody else, from ever going on. So calls that have waited go by connections
of their own, those that have waited twice by others again, and of each kind there are enough
connections for all calls that may wait.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import grpc

from serving.edge.sleepers import MAX_WAITS

CHANNELS: Final = 4
"""Of a kind: with HAProxy's streams on each, more than `sleepers.MAX_CALLS`."""
OF_ITS_OWN: Final = ("grpc.use_local_subchannel_pool", 1)
"""Channels to one address share a connection otherwise."""


class RelayChannels:
    """Sends the calls of one method, each by the connection that has the fewest."""

    def __init__(self, address: str, path: str, options: Sequence[tuple[str, int]]) -> None:
        """Prepare; a connection is opened for the first call that goes by it.

        Args:
            address: The edge's, as grpc writes it.
            path: The method's.
            options: Of every channel.
        """
        self._lines = [
            [_Line(address, path, (*options, OF_ITS_OWN)) for _ in range(CHANNELS)]
            for _ in range(MAX_WAITS + 1)
        ]

    async def send(
        self,
        message: bytes,
        metadata: Iterable[tuple[str, str]],
        *,
        wait_count: int,
        limit_s: float | None,
    ) -> bytes:
        """Send one call; return its reply.

        Args:
            message: As it is sent.
            metadata: What goes with it.
            wait_count: Times that it has waited for a worker.
            limit_s: How long it has; None: as long as it takes.

        Raises:
            grpc.aio.AioRpcError: It failed.
        """
        line = min(self._lines[wait_count], key=lambda each: each.call_count)
        line.call_count += 1
        try:
            reply: bytes = await line.call(
                message, timeout=limit_s, metadata=tuple(metadata) or None
            )
        finally:
            line.call_count -= 1
        return reply

    async def close(self) -> None:
        """Close every connection."""
        for lines in self._lines:
            for line in lines:
                await line.channel.close()


class _Line:
    """A channel and how many calls it has."""

    def __init__(self, address: str, path: str, options: Sequence[tuple[str, int]]) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=options)
        self.call: Any = self.channel.unary_unary(path)  # grpc ships no types
        self.call_count = 0
