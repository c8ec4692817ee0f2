"""`rollout.ports.Edges` around the one edge of this process."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from serving.edge.control import EdgeStatus, Snapshot


class NodeEdge(Protocol):
    """What is needed of `serving.edge.edge.Edge`."""

    async def apply(self, snapshot: Snapshot) -> int:
        """Obey a snapshot; return its revision when HAProxy has acknowledged it."""

    def status(self) -> EdgeStatus:
        """Describe it for operators."""


class OneEdge:
    """The only edge there is."""

    def __init__(self) -> None:
        """Begin without it: the edge needs the controller, which needs this."""
        self._edge: NodeEdge | None = None
        self._routed: frozenset[str] = frozenset()
        self._obeyed = asyncio.Condition()

    def attach(self, edge: NodeEdge) -> None:
        """Take the edge."""
        self._edge = edge

    async def publish(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to the edge; returns when it is obeyed.

        Raises:
            BasculeError: The edge did not take it.
        """
        pools = snapshot.routes.pools.values()
        routed = frozenset(address.worker for pool in pools for address in pool)
        self._routed |= routed  # until the edge has obeyed, both tables may be in force
        if self._edge is not None:
            await self._edge.apply(snapshot)
        async with self._obeyed:
            self._routed = routed
            self._obeyed.notify_all()

    async def until_unrouted(self, worker: str) -> None:
        """Return when the edge sends no new call to a worker."""
        async with self._obeyed:
            await self._obeyed.wait_for(lambda: worker not in self._routed)

    def observe(self) -> Sequence[EdgeStatus]:
        """Return the edge and the revision that it obeys."""
        return () if self._edge is None else (self._edge.status(),)
