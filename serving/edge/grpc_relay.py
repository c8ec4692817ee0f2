"""Sends infer calls that came to the front desk into the edge again: packed ones, and streams'.

Compressed messages arrive as they are: gRPC would inflate them in full, on the event loop, whatever
their size becomes. Here that is done in a thread, up to the limit of a request.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import grpc

from runtimes.errors import BasculeError
from serving.edge.message_room import SIZE_HEADER, MessageRoom
from serving.edge.relay_channels import RelayChannels
from serving.edge.sleepers import (
    MODEL_HEADER,
    VERSION_HEADER,
    WOKEN_HEADER,
    Sleeper,
    Sleepers,
    sleeper_of,
)
from serving.edge.unary_calls import refuse
from serving.wire import coding
from serving.wire.peer_table import HANDED_ON_HEADER

OURS: Final = frozenset({MODEL_HEADER, VERSION_HEADER, WOKEN_HEADER, SIZE_HEADER, HANDED_ON_HEADER})
OF_THE_HOP: Final = re.compile(r"grpc-.*|.*-bin|content-(length|type)|host|te|user-agent")
"""Metadata of one connection or message only, or that gRPC writes itself."""
LEGAL_KEY: Final = re.compile(r"[0-9a-z_.-]+")


class InferRelay:
    """Sends serialized infer calls into the edge again."""

    def __init__(
        self,
        channels: RelayChannels,
        max_bytes: int,
        room: MessageRoom,
        sleepers: Sleepers,
    ) -> None:
        """Call the method for inference.

        Args:
            channels: To the edge.
            max_bytes: What a message may inflate to.
            room: Where messages are counted.
            sleepers: Where calls wait for versions without a worker.
        """
        self._sleepers = sleepers
        self._channels = channels
        self._max_bytes = max_bytes
        self.room = room

    async def infer(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401  grpc ships no types
        """Answer a unary call."""
        try:
            sleeper = sleeper_of(context.invocation_metadata() or ())
            if sleeper is None:
                message = await self.inflated(request)
                reply = await self._counted(message, context)
            else:  # HAProxy has read it, so it is not packed, and its size was counted as it came
                await self._sleepers.until_awake(sleeper)
                reply = await self.call(request, context, sleeper)
        except BasculeError as error:
            await refuse(context, error)
            raise
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
            raise
        # grpc sends it after this returns, as fast as the client reads.
        self.room.hold(len(reply))
        context.add_done_callback(lambda _: self.room.give(len(reply)))
        return reply

    async def _counted(self, message: bytes, context: Any) -> bytes:  # noqa: ANN401  as above
        self.room.take(len(message))
        try:
            return await self.call(message, context)
        finally:
            self.room.give(len(message))

    async def call(
        self,
        message: bytes,
        context: Any,  # noqa: ANN401  as above
        sleeper: Sleeper | None = None,
    ) -> bytes:
        """Send one call, which has as long as the one that it came in by.

        Args:
            message: As it is sent.
            context: Of the call that it came in by.
            sleeper: What it has waited for; None: nothing.

        Raises:
            grpc.aio.AioRpcError: It failed, with the status that its caller shall see.
        """
        metadata = passed_on(context.invocation_metadata() or ())
        woken = {} if sleeper is None else sleeper.woken
        return await self._channels.send(
            message,
            (*metadata, *woken.items()),
            wait_count=0 if sleeper is None else sleeper.wait_count + 1,
            limit_s=context.time_remaining(),
        )

    async def inflated(self, request: bytes) -> bytes:
        """Decompress a message where it is packed.

        Raises:
            BasculeError: It is corrupt, or larger than a request may be.
        """
        packing = coding.packing_of(request)
        if packing is None:
            return request
        return await asyncio.to_thread(coding.inflate, request, packing, self._max_bytes)


def passed_on(metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[tuple[str, str]]:
    """Give what a caller says that the edge and the worker shall see: its trace, its key, its name.

    What is no printable ASCII is left out: gRPC would refuse to send the call.
    """
    for key, value in metadata:
        if key in OURS or OF_THE_HOP.fullmatch(key) or not LEGAL_KEY.fullmatch(key):
            continue
        text = str(value)
        if text.isascii() and text.isprintable():
            yield key, text
