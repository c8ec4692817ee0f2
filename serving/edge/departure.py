"""A client of the HTTP front desk that leaves ends what is done for it alone.

uvicorn runs a request to its end whether its client is still there or not: calls that nobody waits
for any more would pile up before those of the ones who called again.
"""

from collections.abc import Mapping
from typing import Any, Final

from serving.edge.interruption import Interruption
from serving.errors import CancelledCallError

LEFT: Final = "the client left before its answer"
SCOPE_KEY: Final = "bascule.departure"
"""Where a request's scope has its connection's."""


class Departure(Interruption):
    """Begins when a connection is lost: it interrupts what waits by a `CancelledCallError`."""

    def __init__(self) -> None:
        """The client is there."""
        super().__init__(CancelledCallError, LEFT)


def departure_of(scope: Mapping[str, Any]) -> Departure:
    """Return that of a request's connection; one that never begins, if nobody watches it."""
    found = scope.get(SCOPE_KEY)
    return found if isinstance(found, Departure) else Departure()
