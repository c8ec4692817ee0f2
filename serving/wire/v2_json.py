"""Fast path. Open Inference Protocol JSON with binary tensors: body → `InferCall`, arrays → reply.

::

    request  = JSON header, then the raw tensors of the inputs that carry `binary_data_size`
    reply    = JSON head, then the raw outputs that were asked for as binary
"""

from collections.abc import Sequence

import msgspec

from serving.wire.call import Array, CallSpec, InferCall

Buffer = bytes | memoryview


class JsonReply(msgspec.Struct, frozen=True):
    """An encoded reply: the body is `head` and then each buffer of `tail`."""

    head: bytes
    tail: tuple[Buffer, ...] = ()
    header_length: int | None = None
    """Value of `Inference-Header-Content-Length`; None when the body is all JSON."""


def header_length(text: bytes) -> int:
    """Read the value of a request's `Inference-Header-Content-Length`.

    Raises:
        InvalidArgumentError: It is not a 32-bit decimal number.
    """
    raise NotImplementedError


class V2JsonCodec:
    """Decodes and encodes the calls to one version; owns two small bounded caches.

    One per hosted version, used by one thread.
    """

    def __init__(self, spec: CallSpec) -> None:
        """Prepare for calls that must fit `spec`."""

    def decode_request(self, body: Buffer, header_length: int | None) -> InferCall:
        """Decode and check one request body (after decompression).

        Args:
            body: The whole body. Tensors of the call are views of it.
            header_length: Bytes of the JSON header; None when the body is all JSON; 0 for a raw
                request (the body is the one input of a one-input model).

        Raises:
            InvalidArgumentError: The body is malformed or does not fit the model.
            NotFoundError: It names a shared-memory region (none can be registered).
        """
        raise NotImplementedError

    def encode_reply(self, call: InferCall, outputs: Sequence[Array]) -> JsonReply:
        """Encode the answer to a call.

        Args:
            call: What `decode_request` gave.
            outputs: One array per output of the *model*, in its order (asked for or not), with
                the rows of this call only. BYTES are object arrays of `str` or `bytes`.

        Raises:
            InvalidArgumentError: A BYTES output asked for as JSON is not UTF-8.
            EngineError: An array does not fit its declared datatype.
        """
        raise NotImplementedError
