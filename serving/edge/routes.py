"""What the edge obeys: which version answers, in which pool, by which workers. Pure.

The controller publishes a `RouteTable` with a rising revision; an edge applies the difference to
the one it has and acknowledges the revision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from serving.ids import VersionKey

SHARE_SCALE = 10_000
"""A candidate's share of the traffic counts ten-thousandths."""


@dataclass(frozen=True, slots=True, order=True)
class WorkerAddress:
    """Where a worker listens; `tcp` is empty when it has no reason to."""

    worker: str
    """The worker's id, unique in the cluster and never reused: `<pool>-<n>`."""
    node: str
    socket: str
    """Path of its unix socket, valid on `node`."""
    tcp: str = ""
    """`host:port` for edges on other nodes."""

    @property
    def control(self) -> str:
        """Where its control channel listens: beside its socket for calls."""
        return self.socket.removesuffix(".sock") + ".ctl"


@dataclass(frozen=True, slots=True)
class VersionRoute:
    """Where calls for one version go; `pool` is None while no worker is ready for it."""

    pool: str | None
    reason: str = ""
    """Why there is no pool: shown by metadata and status."""
    asleep: bool = False
    """The pool has no worker that answers and gets one for a call: calls wait at the front desk."""


@dataclass(frozen=True, slots=True)
class LiveRoute:
    """Who answers calls that name no version.

    `version` None means that the model is known and nothing of it is ready. A `candidate` gets
    `candidate_share` / `SHARE_SCALE` of the calls.
    """

    version: int | None
    candidate: int | None = None
    candidate_share: int = 0
    sticky_by: str = ""
    """The header whose value decides between the two; empty: chance does, call by call."""


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The whole of what an edge needs to route infer calls."""

    revision: int = 0
    pools: Mapping[str, tuple[WorkerAddress, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    versions: Mapping[VersionKey, VersionRoute] = field(
        default_factory=lambda: MappingProxyType({})
    )
    live: Mapping[str, LiveRoute] = field(default_factory=lambda: MappingProxyType({}))


def workers_of(table: RouteTable, node: str) -> tuple[WorkerAddress, ...]:
    """Return the workers on a node that a table routes to."""
    found = {worker for pool in table.pools.values() for worker in pool if worker.node == node}
    return tuple(sorted(found))
