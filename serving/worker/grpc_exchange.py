"""Fast path. A ModelInfer call, as the edge carries gRPC over HTTP/1.1."""

from collections.abc import Sequence

from runtimes.contract import Array
from runtimes.errors import BasculeError, EngineError
from serving.monitor.stages import GRPC
from serving.wire import coding, grpc_frame
from serving.wire.call import InferCall
from serving.wire.prediction_id import header, named_proto
from serving.wire.tensors import Buffer
from serving.wire.v2_proto import read_target
from serving.worker.admission import NS_PER_S
from serving.worker.exchange import Exchange
from serving.worker.targets import GRPC_INFER


class GrpcExchange(Exchange):
    """A ModelInfer call, as the edge carries gRPC over HTTP/1.1."""

    __slots__ = ()

    transport = GRPC

    @property
    def request_target(self) -> bytes:
        """Its path: the model is in the message."""
        return GRPC_INFER

    def _read_headers(self) -> int:
        timeout = self.headers.get(b"grpc-timeout")
        if timeout is not None:
            self.deadline_ns = self.desk.now_ns() + int(grpc_frame.timeout_s(timeout) * NS_PER_S)
            self.has_grpc_deadline = True
        return 0

    def _is_packed(self, body: Buffer) -> bool:
        return body[:1] == b"\x01"

    def _unpacked(self, body: Buffer) -> Buffer:
        packing = self.headers.get(b"grpc-encoding", b"none").decode("latin-1")
        frame = grpc_frame.deframe(body)
        message = coding.inflate(frame.message, packing, self.desk.max_inflated_bytes)
        return b"\0" + len(message).to_bytes(4, "big") + message

    def _decode(self, body: Buffer) -> InferCall:
        targets = self.desk.targets
        target = targets.known(body)
        if target is not None:
            message = memoryview(body)[grpc_frame.FRAME_BYTES :]
        else:
            message = grpc_frame.deframe(body).message
            named = read_target(message)
            target = targets.find_message(named.model, named.version_text)
            if named.head_bytes:
                targets.remember(body, grpc_frame.FRAME_BYTES + named.head_bytes, target)
        self.target = target
        return self._choose(target).proto_codec.decode_request(message)

    def _encode(self, outputs: Sequence[Array]) -> None:
        loaded = self.loaded
        if loaded is None:
            raise EngineError("a call without a version was run")
        message = loaded.proto_codec.encode_reply(self.call, outputs)
        headers = b""
        names = loaded.prediction_names
        if names is not None:
            if names.skip:
                names.skip -= 1
                self.prediction_id = ""
            else:
                self.prediction_id = name = names.make()
                message = named_proto(message, name)
                headers = header(name)
        self._send(grpc_frame.success(message, headers=headers, close=not self.keep_alive))

    def _failure(self, error: BasculeError) -> bytes:
        return grpc_frame.failure(error, close=not self.keep_alive)
