"""Fast path. An infer call of the Open Inference Protocol over HTTP/1.1."""

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import structlog

from runtimes.contract import Array
from runtimes.errors import BasculeError, EngineError
from serving.wire import coding, http1
from serving.wire.call import InferCall
from serving.wire.prediction_id import named_json
from serving.wire.tensors import Buffer
from serving.wire.v2_json import JsonReply, header_length
from serving.worker.exchange import Exchange

log = structlog.get_logger(__name__)

INLINE_PACK_BYTES: Final = 1 << 14  # larger replies are compressed in a thread


class HttpExchange(Exchange):
    """A call of the Open Inference Protocol over HTTP/1.1."""

    __slots__ = ("header_length",)

    header_length: int | None
    """Bytes of the JSON before the tensors; None: all of the body is JSON."""

    @property
    def request_target(self) -> bytes:
        """Its path, without a version."""
        return f"/v2/models/{quote(self.target.model.name, safe='')}/infer".encode()

    def _read_headers(self) -> int:
        self.header_length = None
        length = self.headers.get(b"inference-header-content-length")
        if length is None:
            return 0
        self.header_length = header_length(length)
        return self.header_length

    def _is_packed(self, body: Buffer) -> bool:  # noqa: ARG002  the other wire looks at it
        packing = self.headers.get(b"content-encoding")
        return packing is not None and not coding.is_plain(packing.decode("latin-1"))

    def _unpacked(self, body: Buffer) -> Buffer:
        packing = self.headers[b"content-encoding"].decode("latin-1")
        return coding.inflate(body, packing, self.desk.max_inflated_bytes)

    def _decode(self, body: Buffer) -> InferCall:
        loaded = self._choose(self.target)
        return loaded.json_codec.decode_request(body, self.header_length)

    def _encode(self, outputs: Sequence[Array]) -> None:
        loaded = self.loaded
        if loaded is None:
            raise EngineError("a call without a version was run")
        reply = loaded.json_codec.encode_reply(self.call, outputs)
        names = loaded.prediction_names
        if names is not None:
            if names.skip:
                names.skip -= 1
                self.prediction_id = ""
            else:
                self.prediction_id = name = names.make()
                reply = named_json(reply, name)
        accepted = self.headers.get(b"accept-encoding")
        packing = None
        if accepted is not None and b"," not in accepted:
            packing = coding.reply_coding(accepted.decode("latin-1"))
        if packing is None:
            self._send(http1.infer_reply(reply, close=not self.keep_alive))
        elif len(reply.head) + sum(map(len, reply.tail)) < INLINE_PACK_BYTES:
            self._send(self._packed(reply, packing))
        else:
            future = self.desk.loop.run_in_executor(None, self._packed, reply, packing)
            future.add_done_callback(self._on_packed)

    def _packed(self, reply: JsonReply, packing: str) -> list[Buffer]:
        body = coding.deflate((reply.head, *reply.tail), packing)
        return http1.packed_infer_reply(body, reply, coding=packing, close=not self.keep_alive)

    def _on_packed(self, future: "asyncio.Future[list[Buffer]]") -> None:
        failure = future.exception()
        if failure is None:
            self._send(future.result())
            return
        log.error("reply_not_packed", exc_info=failure)
        self.fail(EngineError("internal error; the worker's log has it"))

    def _failure(self, error: BasculeError) -> bytes:
        return http1.error_reply(error, close=not self.keep_alive)
