"""Answers `generate`: sends the flat JSON into the edge again as an infer call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from runtimes.contract import TensorSpec
from serving.edge.generate import Json, from_infer, into_infer
from serving.errors import QueueFullError
from serving.local_http import LocalHttp, LocalReply

LIMIT_S: Final = 310.0
"""A little more than the edge gives an inference, so that its answer is the one that is told."""
MAX_CALLS: Final = 1024
"""In flight: each holds connections of this process. As many as the gRPC front desk takes."""
EVENT_STREAM: Final = "text/event-stream"
ACTION: Final = "/generate"


class GenerateRelay:
    """Makes infer calls of flat JSON."""

    def __init__(self, edge: Path) -> None:
        """Take the edge's own socket for HTTP."""
        self._edge = edge
        self._call_count = 0

    async def ask(
        self,
        path: str,
        asked: Json,
        inputs: Sequence[TensorSpec],
        *,
        headers: Mapping[str, str],
    ) -> LocalReply:
        """Infer; a success has the flat JSON as its body, a failure is the edge's or worker's.

        Args:
            path: The call's own, percent-encoded, up to `generate` or `generate_stream`.
            asked: Its body.
            inputs: What the model takes.
            headers: What it says of its caller and its trace.

        Raises:
            InvalidArgumentError: The body does not fit the inputs.
            QueueFullError: Too many are in flight.
            NotReadyError: The edge does not answer.
            UnsupportedError: The answer is too much for it.
        """
        body = msgspec.json.encode(into_infer(asked, inputs))
        if self._call_count >= MAX_CALLS:
            raise QueueFullError(
                f"{self._call_count} calls of generate are in flight, which is the maximum; this "
                "one was not executed: retry, or call infer, which goes to a worker directly"
            )
        self._call_count += 1
        try:
            reply = await self._sent(path[: path.rindex(ACTION)] + "/infer", body, headers)
        finally:
            self._call_count -= 1
        if reply.status != 200:  # noqa: PLR2004  HTTP's OK
            return reply
        return LocalReply(200, from_infer(reply.body))

    async def _sent(self, target: str, body: bytes, headers: Mapping[str, str]) -> LocalReply:
        async with LocalHttp(str(self._edge)) as edge:
            return await edge.ask("POST", target, body, timeout_s=LIMIT_S, headers=headers)


def as_event(reply: LocalReply) -> bytes:
    """Return a reply as the one server-sent event of a stream."""
    return b"data: " + reply.body + b"\n\n"
