"""What is said on a worker's control channel: its own unix socket, never an edge's route.

::

    POST /worker/apply   ApplyRequest → one JSON line (`HostedLine`) per version whose state
                         changed, as it happens, then an empty object when all is done
    GET  /worker/state   `WorkerReport`
    GET  /worker/statistics  → list of `serving.monitor.statistics.VersionStatistics`
    POST /worker/regions RegionTable → list of the regions that cannot be opened (`RegionFault`)
    POST /worker/diagnostics  `serving.monitor.diagnostics.Diagnostics`: what to log and to trace
    POST /worker/drain   refuse new calls, finish what waits and runs, then answer 200

The worker listens for calls when its first `apply` is done, and not before: an edge that knows the
socket of a worker that comes back finds nobody there meanwhile, and asks another of the pool.

`apply` is declarative: the versions named are what the worker shall host; missing ones are loaded,
those with a new digest reloaded, all others unloaded. A worker is ready (`GET /v2/health/ready`)
when its first `apply` is done, and stays so during later ones.
"""

from dataclasses import dataclass

from runtimes.facts import NodeFacts
from serving.registry.version import ServedVersion, VersionSpec, VersionState


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRequest:
    """The versions that a worker shall host from now on."""

    versions: tuple[VersionSpec, ...]


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
