"""The snapshot for all edges, and how far each has come: the controller's half of their channel.

An edge calls the controller, again and again: what it reports is also its heartbeat, and the call
is answered as soon as there is a snapshot that it lacks (long poll). One that has fallen silent is
waited for, as long as its HAProxy may route by an older snapshot: nothing that this one names may
end before. All methods run on the controller's one event loop.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from runtimes.facts import NodeFacts
from serving.clock import Clock
from serving.cluster.attention import LOST_S, SILENCE_S, Attention
from serving.cluster.bell import Bell
from serving.edge.control import EdgeStatus, Snapshot
from serving.errors import NotReadyError

LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A snapshot on its way to the edges.

    Numbered apart from its routes: their revision stays while only a version's state changes.
    """

    number: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeReport:
    """What an edge says of itself at each call."""

    status: EdgeStatus
    applied: int = -1
    """Number of the publication that it obeys, and so acknowledges."""
    refused: int = -1
    """Number of the publication that it could not apply last."""
    reason: str = ""
    """Why it could not."""
    facts: NodeFacts | None = None
    """What its node is, measured once when it started."""


class EdgeBoard:
    """The snapshot for all edges, and how far each has come."""

    def __init__(self, clock: Clock, *, first_number: int) -> None:
        """Start without a snapshot: edges keep what they have until the first `publish`.

        Args:
            clock: Tells who has been silent for too long.
            first_number: Above every number that an earlier controller gave out.
        """
        self._clock = clock
        self._attention = Attention(clock)
        self._number = first_number
        self._published: Publication | None = None
        self._routed: frozenset[str] = frozenset()
        self._edges: dict[str, tuple[EdgeReport, float]] = {}
        self._news_for_edges = Bell()
        self._heard = Bell()

    async def exchange(self, report: EdgeReport, wait_s: float) -> Publication | None:
        """Take an edge's report; return the publication that it lacks."""
        if report.applied > self._number:
            # An earlier controller's, and the wall clock was set back since: no word on ours.
            report = replace(report, applied=-1)
        self._edges[report.status.node] = (report, self._attention.now_s())
        self._heard.ring()
        end_s = self._clock.monotonic_s() + wait_s
        while True:
            if self._published is not None and self._published.number != report.applied:
                return self._published
            left_s = end_s - self._clock.monotonic_s()
            if left_s <= 0:
                return None
            await self._news_for_edges.wait(left_s)

    def beat(self, node: str) -> None:
        """Note that a node's edge lives, though it has nothing to report: it is busy obeying."""
        if node in self._edges:
            self._edges[node] = (self._edges[node][0], self._attention.now_s())

    def silent(self) -> frozenset[str]:
        """Return the nodes whose edges are waited for although they have fallen silent."""
        self._living()
        oldest_s = self._attention.now_s() - SILENCE_S
        return frozenset(node for node, (_, at_s) in self._edges.items() if at_s < oldest_s)

    def forget(self, nodes: Collection[str]) -> None:
        """Wait no longer for the edges of nodes that are gone, and their HAProxy with them."""
        self._edges = {node: heard for node, heard in self._edges.items() if node not in nodes}
        self._heard.ring()

    async def publish(self, snapshot: Snapshot) -> None:
        """Offer a snapshot to every edge; return when all that live have acknowledged it.

        Raises:
            NotReadyError: An edge cannot apply it.
        """
        self._number += 1
        publication = Publication(number=self._number, snapshot=snapshot)
        self._published = publication
        routed = _workers(snapshot)
        self._routed |= routed  # until all have obeyed, both tables may be in force
        self._news_for_edges.ring()
        while any(edge.applied < publication.number for edge in self._living()):
            _raise_refusal(self._living(), publication.number)
            await self._heard.wait(LOOK_S)
        self._routed = routed
        self._heard.ring()

    async def until_unrouted(self, worker: str, limit_s: float) -> None:
        """Return when no edge sends calls to a worker any more, or after the limit."""
        end_s = self._clock.monotonic_s() + limit_s
        while worker in self._routed and (left_s := end_s - self._clock.monotonic_s()) > 0:
            await self._heard.wait(min(left_s, LOOK_S))

    def observe(self) -> Sequence[EdgeStatus]:
        """Return every edge that reported lately, or is waited for."""
        return tuple(edge.status for edge in self._living())

    async def heard(self, limit_s: float) -> None:
        """Return when an edge reports, or after the limit."""
        await self._heard.wait(limit_s)

    def facts(self) -> Mapping[str, NodeFacts]:
        """Return what is known of the nodes of every edge that lives."""
        return {edge.status.node: edge.facts for edge in self._living() if edge.facts is not None}

    def _living(self) -> Sequence[EdgeReport]:
        now_s = self._attention.now_s()
        self._edges = {
            node: (report, at_s)
            for node, (report, at_s) in self._edges.items()
            if at_s >= now_s - _patience_s(report)
        }
        return tuple(report for report, _ in self._edges.values())


def _patience_s(report: EdgeReport) -> float:
    """How long an edge may be silent: one that has obeyed a snapshot has a HAProxy that routes."""
    return LOST_S if report.status.revision else SILENCE_S


def _workers(snapshot: Snapshot) -> frozenset[str]:
    pools = snapshot.routes.pools.values()
    return frozenset(address.worker for pool in pools for address in pool)


def _raise_refusal(edges: Sequence[EdgeReport], number: int) -> None:
    for edge in edges:
        if edge.refused == number and edge.applied < number:
            raise NotReadyError(f"the edge on node {edge.status.node}: {edge.reason}")
