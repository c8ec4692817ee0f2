"""Exchanges of a worker that copies calls: they keep their body until they are answered.

They take the place of the plain ones while a mirror is set; calls of other versions pay for one
more reference, and for one look-up when they are answered.
"""

from collections.abc import Sequence

from runtimes.contract import Array
from serving.wire.call import InferCall
from serving.wire.grpc_frame import FRAME_BYTES
from serving.wire.tensors import Buffer
from serving.worker.grpc_exchange import GrpcExchange
from serving.worker.http_exchange import HttpExchange
from serving.worker.shadow.message import RawRequest


class MirroredHttpExchange(HttpExchange):
    """A call over HTTP whose copy may be wanted."""

    __slots__ = ("_kept",)

    _kept: Buffer

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Answer, then hand the call over."""
        is_sent = super().finish(outputs)
        mirrors = self.desk.mirrors
        if is_sent and mirrors is not None:
            mirrors.offer(self, RawRequest("json", self._kept, self.header_length), outputs)
        return is_sent

    def _enter(self, body: Buffer, judged: InferCall | None = None) -> None:
        self._kept = body
        super()._enter(body, judged)


class MirroredGrpcExchange(GrpcExchange):
    """A call over gRPC whose copy may be wanted."""

    __slots__ = ("_kept",)

    _kept: Buffer

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Answer, then hand the call over."""
        is_sent = super().finish(outputs)
        mirrors = self.desk.mirrors
        if is_sent and mirrors is not None:
            message = memoryview(self._kept)[FRAME_BYTES:]
            mirrors.offer(self, RawRequest("proto", message), outputs)
        return is_sent

    def _enter(self, body: Buffer, judged: InferCall | None = None) -> None:
        self._kept = body
        super()._enter(body, judged)
