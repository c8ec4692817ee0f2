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
MAX_BODIES_BYTES: Final = 256 << 20
"""Of the infer calls in flight. One alone is always sent: its own limit is that of a request."""
EVENT_STREAM: Final = "text/event-stream"
ACTION: Final = "/generate"


class GenerateRelay:
    """Makes infer calls of flat JSON."""

    def __init__(self, edge: Path) -> None:
        """Take the edge's own socket for HTTP."""
        self._edge = edge
        self._call_count = 0
        self._bodies_bytes = 0

    async def ask(self, path: str, body: bytes, *, headers: Mapping[str, str]) -> LocalReply:
        """Infer; a success has the flat JSON as its body, a failure is the edge's or worker's.

        Args:
            path: The call's own, percent-encoded, up to `generate` or `generate_stream`.
            body: Of the infer call.
            headers: What it says of its caller and its trace.

        Raises:
            QueueFullError: Too many are in flight, or too much.
            NotReadyError: The edge does not answer.
            UnsupportedError: The answer is too much for it.
        """
        if self._call_count >= MAX_CALLS:
            raise QueueFullError(
                f"{self._call_count} calls of generate are in flight, which is the maximum; this "
                "one was not executed: retry, or call infer, which goes to a worker directly"
            )
        if self._bodies_bytes and self._bodies_bytes + len(body) > MAX_BODIES_BYTES:
            raise QueueFullError(
                f"calls of generate: {self._bodies_bytes} of {MAX_BODIES_BYTES} bytes are in "
                f"flight, and this one has {len(body)}; it was not executed: retry, or call infer, "
                "which goes to a worker directly"
            )
        self._call_count += 1
        self._bodies_bytes += len(body)
        try:
            reply = await self._sent(path[: path.rindex(ACTION)] + "/infer", body, headers)
        finally:
            self._call_count -= 1
            self._bodies_bytes -= len(body)
        if reply.status != 200:  # noqa: PLR2004  HTTP's OK
            return reply
        return LocalReply(200, from_infer(reply.body))

    async def _sent(self, target: str, body: bytes, headers: Mapping[str, str]) -> LocalReply:
        async with LocalHttp(str(self._edge)) as edge:
            return await edge.ask("POST", target, body, timeout_s=LIMIT_S, headers=headers)


def infer_body(asked: Json, inputs: Sequence[TensorSpec]) -> bytes:
    """Write the body of the infer call, a third of what the parsed values take.

    Args:
        asked: The body of the call.
        inputs: What the model takes.

    Raises:
        InvalidArgumentError: It does not fit the inputs, or asks for bytes.
    """
    return msgspec.json.encode(into_infer(asked, inputs))


def as_event(reply: LocalReply) -> bytes:
    """Return a reply as the one server-sent event of a stream."""
    return b"data: " + reply.body + b"\n\n"
