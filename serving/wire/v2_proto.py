"""Fast path. ModelInferRequest → `InferCall`, arrays → ModelInferResponse, by a hand-written walk."""

from collections.abc import Sequence

import msgspec

from serving.wire.call import Array, CallSpec, InferCall

Buffer = bytes | memoryview


class Target(msgspec.Struct, frozen=True):
    """Whom a ModelInferRequest is for."""

    model: str
    version_text: str
    """As the client wrote it; empty when the server chooses."""


def read_target(message: Buffer) -> Target:
    """Read model and version of a ModelInferRequest: the first occurrence, as the edge does.

    Raises:
        InvalidArgumentError: The message is no protobuf.
    """
    raise NotImplementedError


class V2ProtoCodec:
    """Decodes and encodes the gRPC calls to one version; owns two small bounded caches.

    One per hosted version, used by one thread. It does not look at the message's model and version.
    """

    def __init__(self, spec: CallSpec) -> None:
        """Prepare for calls that must fit `spec`."""

    def decode_request(self, message: Buffer) -> InferCall:
        """Decode and check one ModelInferRequest (without frame, after decompression).

        Tensors of the call are views of `message`.

        Raises:
            InvalidArgumentError: The message is malformed or does not fit the model.
            NotFoundError: It names a shared-memory region (none can be registered).
        """
        raise NotImplementedError

    def encode_reply(self, call: InferCall, outputs: Sequence[Array]) -> list[Buffer]:
        """Encode a ModelInferResponse, always with raw contents, as buffers to concatenate.

        `outputs` is one array per output of the *model*, in its order (asked for or not), with the
        rows of this call only. BYTES are object arrays of `str` or `bytes`.

        Raises:
            EngineError: An array does not fit its declared datatype.
        """
        raise NotImplementedError
