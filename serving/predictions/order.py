"""What a worker is told of the prediction log; it travels on its command line, as JSON."""

from dataclasses import dataclass
from typing import Final

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.registry.policies.log_policy import KeptInputs, LogPolicy

MAX_SEGMENT_BYTES: Final = 64 << 20
MIN_SEGMENT_BYTES: Final = 64 << 10
SEGMENTS_OF_ROOM: Final = 16
"""A segment is so many times smaller than the room of all: what goes to make room is little. As
many processes that write at once may fill it with open segments alone: that is warned of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOrder:
    """Where predictions are kept, which of them, and how long."""

    folder: str
    """Where segments are written: the place itself, or where they wait to be sent to `url`."""
    url: str = ""
    """An fsspec URL that finished segments are moved to; empty: they stay in the folder."""
    rate: float = 1.0
    inputs: KeptInputs = "full"
    max_bytes: int = 1 << 30
    """Bound of all segments in the place, and of those in the folder."""
    retention_s: float = 30 * 86_400.0
    label_bytes: int = 256 << 20
    """Bound of all labels, which are kept as long as predictions."""

    @property
    def segment_bytes(self) -> int:
        """How large a segment becomes before the next one is begun."""
        return max(MIN_SEGMENT_BYTES, min(MAX_SEGMENT_BYTES, self.max_bytes // SEGMENTS_OF_ROOM))

    def with_policy(self, policy: LogPolicy) -> LogPolicy:
        """Return what holds for a model: its own word, else the server's."""
        return LogPolicy(
            rate=self.rate if policy.rate is None else policy.rate,
            inputs=policy.inputs or self.inputs,
            redacted=policy.redacted,
        )


def encode_order(order: LogOrder) -> str:
    """Write an order for a command line."""
    return msgspec.json.encode(order).decode()


def decode_order(text: str) -> LogOrder:
    """Read an order.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        return msgspec.json.decode(text, type=LogOrder)
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"invalid LogOrder: {error}") from error
