"""Whether the server is on its way out, and the end of what would wait for more until then.

Calls in flight are finished. What only waits, for a worker or for the next message of a stream, is
told that the server goes: nothing else would end it.
"""

from serving.edge.interruption import Interruption
from serving.errors import DrainingError
from serving.wire import refusals


class Drain(Interruption):
    """Begins when the server is on its way out: it interrupts what waits by a `DrainingError`."""

    def __init__(self) -> None:
        """The server stays."""
        super().__init__(DrainingError, refusals.SERVER_EXITING)
