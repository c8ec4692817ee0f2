"""What is said on a worker's control channel: its own unix socket, never an edge's route.

::

    POST /worker/apply   ApplyRequest → one JSON line (`HostedLine`) per version whose state
                         changed, as it happens, then an empty object when all is done
    GET  /worker/state   `WorkerReport`
    GET  /worker/statistics  → list of `serving.monitor.statistics.VersionStatistics`
    POST /worker/traffic `TrafficQuestion` → list of `serving.monitor.traffic.TrafficCounters`
    GET  /worker/vitals  → list of `serving.monitor.vitals.VersionVitals`
    GET  /worker/load    → list of `serving.monitor.load.VersionLoad`, of versions that are scaled
    POST /worker/regions RegionTable → list of the regions that cannot be opened (`RegionFault`)
    POST /worker/diagnostics  `serving.monitor.diagnostics.Diagnostics`: what to log and to trace
    POST /worker/mirrors MirrorTable: whose calls to copy to whom, and what to compare
    GET  /worker/comparisons  → list of `serving.monitor.comparison.ComparisonReport`
    POST /worker/shadow  copies of calls (`serving.worker.shadow.message`) → ShadowReply; also by
                         TCP, for whoever knows the key of the table
    POST /worker/peers   `serving.wire.peer_table.PeerTable`: who else has sequences of its models
    POST /worker/drift   `serving.worker.drift.route.DriftQuestion` → list of
                         `serving.monitor.drift.stream.DriftReport`: sums over rows, if it watches
    POST /worker/drain   refuse new calls, finish what waits and runs, then answer 200

Workers tell each other, on the sockets for calls, for they may be on different nodes::

    POST /worker/begun   `serving.worker.handover.Begun`: sequences that began anew elsewhere

The worker listens for calls when its first `apply` is done, and not before: an edge that knows the
socket of a worker that comes back finds nobody there meanwhile, and asks another of the pool.

`apply` is declarative: the versions named are what the worker shall host; missing ones are loaded,
those with a new digest reloaded, all others unloaded. A worker is ready (`GET /v2/health/ready`)
when its first `apply` is done, and stays so during later ones.
"""

from dataclasses import dataclass
from typing import Final

from runtimes.facts import NodeFacts
from serving.ids import VersionKey
from serving.registry.version import ServedVersion, VersionSpec, VersionState


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRequest:
    """The versions that a worker shall host from now on."""

    versions: tuple[VersionSpec, ...]


SHARE_SCALE: Final = 10_000
"""A mirror's share counts ten-thousandths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorEntry:
    """Copies of one version's calls, for another version of the model."""

    model: str
    version: int
    """The live one, whose calls are copied."""
    candidate: int
    share: int
    """Of `SHARE_SCALE` calls so many are copied."""
    targets: tuple[str, ...] = ()
    """The candidate's workers, as this worker reaches them: paths of unix sockets, `host:port`."""
    tolerance: str = ""
    """How far outputs may be off, for all of them; empty: as the candidate's bundle says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTable:
    """Everything that a worker copies or compares from now on; empty: nothing.

    A worker that hosts the live version of an entry copies; one that hosts its candidate compares.
    """

    mirrors: tuple[MirrorEntry, ...] = ()
    key: str = ""
    """Who sends copies by TCP must know it; empty: nobody may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficQuestion:
    """Which versions' traffic somebody wants to know."""

    keys: tuple[VersionKey, ...] = ()
    with_outputs: bool = False
    """Look at their outputs from now on."""


UNLOADED: Final = "unloaded"
"""The reason of a version that a worker hosts no more, since it was not asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedLine:
    """One version's state in one worker."""

    model: str
    version: int
    state: VersionState
    reason: str = ""
    digest: str = ""
    refused_digest: str = ""
    """READY, and this newer form was refused: `reason` says why."""
    served: ServedVersion | None = None
    sequence_count: int = 0
    """Sequences that are under way; only in a `WorkerReport`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """A worker about itself."""

    worker: str
    pid: int
    ready: bool
    draining: bool
    queued_rows: int
    rss_bytes: int
    versions: tuple[HostedLine, ...]
    facts: NodeFacts | None = None
    """What it computes with, as it sees the node; None before it has loaded a version."""
