"""Which other versions' workers may have a model's sequences; the edge tells each worker.

A sequence lives in the worker of the version that it began on. A step that the edge routes to
another version of the model is handed on by it, to the one among these that has the sequence.
"""

from dataclasses import dataclass
from typing import Final

HANDED_ON_HEADER: Final = "bascule-handed-on"
"""Of a step that one worker has from another; what a client says so, the edge takes away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencePeer:
    """A worker that keeps sequences of a version."""

    model: str
    version: int
    worker: str
    socket: str = ""
    """Where it takes calls, if it is on the same node."""
    tcp: str = ""
    """`host:port`, if it is on another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTable:
    """All that one worker has to know; a new one replaces the old one as a whole."""

    peers: tuple[SequencePeer, ...] = ()
