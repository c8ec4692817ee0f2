"""What the controller drives: pools of workers, and edges. Two adapters implement each.

`serving.standalone` runs plain child processes, `serving.cluster` runs Ray Serve applications;
`tests/fakes` has an in-memory one. All calls are made from the controller's event loop.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from runtimes.facts import NodeFacts
from serving.edge.control import EdgeStatus, Snapshot
from serving.edge.routes import SHARE_SCALE, WorkerAddress
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport
from serving.monitor.drift.stream import Reports
from serving.monitor.environment.records import Surroundings
from serving.monitor.load import VersionLoad
from serving.monitor.traffic import Lives, TrafficCounters
from serving.monitor.vitals import VersionVitals
from serving.registry.version import ServedVersion, VersionSpec, VersionState


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """A pool as it should be: n identical workers that host the same versions."""

    pool: str
    """Id, never reused: `s<n>` for shared, `d<n>` for dedicated pools."""
    dedicated: bool
    replica_count: int
    gpu_count: float
    """GPUs for each worker; 0: none is visible to it."""
    versions: tuple[VersionSpec, ...]
    profile: str = ""
    """The hardware profile that its nodes must fit; empty: any node."""
    lock_file: str = ""
    """The lock whose environment its workers run in; empty: they run in ours."""
    group: str = ""
    """The ensemble whose models it hosts together; empty: versions have nothing in common."""
    scaled: bool = False
    """`replica_count` is what calls ask for at the moment; 0: none, until somebody calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedVersion:
    """What one worker says of one version that it was asked to host."""

    state: VersionState
    reason: str = ""
    digest: str = ""
    refused_digest: str = ""
    """READY, and this newer form was refused: `reason` says why."""
    served: ServedVersion | None = None
    is_retried: bool = False
    """UNAVAILABLE, and the worker is asked to load it once more: what served has not failed yet."""
    sequence_count: int = 0
    """Sequences that were under way when it was last asked, which is every second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """One worker as its supervisor sees it."""

    address: WorkerAddress
    pool: str
    pid: int
    state: str
    """`starting`, `ready`, `restarting`, `silent` (it may serve), `draining` or `failed`."""
    versions: Mapping[VersionKey, HostedVersion] = field(
        default_factory=lambda: MappingProxyType({})
    )
    restart_count: int = 0
    last_exit: str = ""
    crashed_on: VersionKey | None = None
    """The version that was loading or running when the worker last died by itself."""
    rss_bytes: int = 0
    devices: str = ""
    facts: NodeFacts | None = None
    """What it computes with, as it sees the node; None before it has loaded a version."""
    surroundings: Surroundings | None = None
    """What its supervisor sees around it; None: nobody looks."""
    comparisons: tuple[ComparisonReport, ...] = ()
    """Its part of every comparison that it takes part in, a few seconds old at most; what workers
    before it have counted in the same place is in it."""
    traffic: tuple[TrafficCounters, ...] = ()
    """Where counters travel with the report: of the versions that somebody asked for."""
    drift: Reports = ()
    """Sums over the rows of every version that is watched for drift."""
    vitals: tuple[VersionVitals, ...] = ()
    """Of the versions that were called: some seconds old."""
    loads: tuple[VersionLoad, ...] = ()
    """What it has to do for versions that are scaled: a second old at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Shadow traffic: copies of a version's calls, for a candidate to answer and be compared.

    They are made after the reply, never touch a client, and are dropped where they would cost more
    than a fixed share of the live worker's time and memory.
    """

    live: VersionKey
    """Whose calls are copied, and whose answers are expected."""
    candidate: int
    """Another version of the model."""
    share: int = SHARE_SCALE
    """Of `SHARE_SCALE` calls so many are copied."""
    tolerance: str = ""
    """How far outputs may be off, for all of them, as `runtimes.tolerance.tolerance` reads it;
    empty: as the candidate's bundle says."""


class Cluster(Protocol):
    """Where pools live. Calls say what should be; `observe` says what is."""

    async def ensure_pool(self, spec: PoolSpec) -> None:
        """Start a pool, or change its versions in place; returns at once, work goes on behind.

        A changed `replica_count` is applied in place; anything else is a new pool. A worker that
        leaves is `draining` first, and ends when no edge routes to it any more.
        """

    async def stop_pool(self, pool: str) -> None:
        """Drain and end a pool that no route names any more; returns when it is gone."""

    def observe(self) -> Mapping[str, Sequence[WorkerState]]:
        """The workers of every pool that was ensured and not stopped, as last heard of."""

    async def traffic(self, keys: Collection[VersionKey], *, with_outputs: bool = False) -> Lives:
        """Return what every worker has counted of some versions, by the life of its process.

        Workers that do not answer are left out; numbers may be some seconds old. Whoever watches
        asks every few seconds: a look at outputs ends when nobody does.
        """

    async def changed(self) -> None:
        """Return when `observe` may give something new (or after some seconds without news)."""

    def set_mirrors(self, mirrors: Sequence[Mirror]) -> None:
        """Say which calls are copied and compared from now on; empty: none.

        Returns at once. Every worker that has a part in it is told, again after a restart, and as
        pools change. The comparison of a pair of versions goes on for as long as its mirror stays;
        it is forgotten with it. Before the first call nobody is told anything.
        """

    def comparisons(self) -> Sequence[ComparisonReport]:
        """Return what is known of each pair that is compared, of all workers together."""


class Edges(Protocol):
    """The edges of all nodes."""

    async def publish(self, snapshot: Snapshot) -> None:
        """Hand a new snapshot to every edge; returns when all living edges acknowledged it."""

    def observe(self) -> Sequence[EdgeStatus]:
        """Every living edge and the revision it has applied."""
