"""What the controller drives: pools of workers, and edges. Two adapters implement each.

`serving.standalone` runs plain child processes, `serving.cluster` runs Ray Serve applications;
`tests/fakes` has an in-memory one. All calls are made from the controller's event loop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from runtimes.facts import NodeFacts
from serving.edge.control import EdgeStatus, Snapshot
from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedVersion:
    """What one worker says of one version that it was asked to host."""

    state: VersionState
    reason: str = ""
    digest: str = ""
    refused_digest: str = ""
    """READY, and this newer form was refused: `reason` says why."""
    served: ServedVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """One worker as its supervisor sees it."""

    address: WorkerAddress
    pool: str
    pid: int
    state: str
    """`starting`, `ready`, `restarting`, `draining` or `failed`."""
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


class Cluster(Protocol):
    """Where pools live. Calls say what should be; `observe` says what is."""

    async def ensure_pool(self, spec: PoolSpec) -> None:
        """Start a pool, or change its versions in place; returns at once, work goes on behind.

        A changed `replica_count` is applied in place; anything else is a new pool.
        """

    async def stop_pool(self, pool: str) -> None:
        """Drain and end a pool that no route names any more; returns when it is gone."""

    def observe(self) -> Mapping[str, Sequence[WorkerState]]:
        """The workers of every pool that was ensured and not stopped, as last heard of."""

    async def changed(self) -> None:
        """Return when `observe` may give something new (or after some seconds without news)."""


class Edges(Protocol):
    """The edges of all nodes."""

    async def publish(self, snapshot: Snapshot) -> None:
        """Hand a new snapshot to every edge; returns when all living edges acknowledged it."""

    def observe(self) -> Sequence[EdgeStatus]:
        """Every living edge and the revision it has applied."""
