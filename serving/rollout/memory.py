"""What the controller remembers between two passes. Pure records.

Nothing here is written to disk: a restarted controller learns again from what it observes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from serving.edge.routes import RouteTable
from serving.ids import VersionKey
from serving.registry.version import VersionSpec
from serving.rollout.ports import PoolSpec, WorkerState

Observed = Mapping[str, Sequence[WorkerState]]
"""Pool → its workers, as last heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The operator's bounds on placement."""

    shared_pool_versions: int = 512
    shared_model_bytes: int = 16 << 20
    slow_run_s: float = 0.005
    pool_slots: int = 256
    sequence_drain_s: float = 300.0
    scaled_workers: int = 0
    """More workers than these are of no use on CPUs, to a scaled version, or to those that share;
    0: nobody knows how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolShape:
    """What cannot be changed in a pool; another shape is another pool."""

    dedicated: bool
    replica_count: int
    """0 where `scaled`: it changes."""
    gpu_count: float
    profile: str = ""
    """The hardware profile that its nodes must fit; empty: any node."""
    lock_file: str = ""
    """The lock whose environment its workers run in."""
    group: str = ""
    """The ensemble by whose name its group is called: the pool hosts its models, nothing else."""
    scaled: bool = False
    """It has as many workers as calls ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool, and the versions that it was last asked to host."""

    shape: PoolShape
    worker_count: int = 1
    """Where it is scaled: how many workers it was last asked to have."""
    versions: Mapping[VersionKey, VersionSpec] = field(default_factory=lambda: MappingProxyType({}))

    def spec(self, pool: str) -> PoolSpec:
        """Write it as the cluster port takes it."""
        return PoolSpec(
            pool=pool,
            dedicated=self.shape.dedicated,
            replica_count=self.worker_count if self.shape.scaled else self.shape.replica_count,
            scaled=self.shape.scaled,
            gpu_count=self.shape.gpu_count,
            profile=self.shape.profile,
            versions=tuple(self.versions.values()),
            lock_file=self.shape.lock_file,
            group=self.shape.group,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Something learnt of a version; it holds for this digest only."""

    digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A version was given from one shared worker to another one."""

    pool: str
    """Where to."""
    count: int
    """How often, since it last stayed somewhere for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the controller knows besides desired and observed."""

    pools: Mapping[str, Pool] = field(default_factory=lambda: MappingProxyType({}))
    placement: Mapping[VersionKey, str] = field(default_factory=lambda: MappingProxyType({}))
    """The pool that each version belongs to; one that is on its way is still routed elsewhere."""
    unplaced: Mapping[VersionKey, str] = field(default_factory=lambda: MappingProxyType({}))
    """Wanted versions for which there is no pool at present, with the reason."""
    failures: Mapping[VersionKey, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    """Versions that cannot be loaded, until their digest changes or they are asked for again."""
    moves: Mapping[VersionKey, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    """Versions that must not share a worker any more, and why."""
    spread: Mapping[VersionKey, Spread] = field(default_factory=lambda: MappingProxyType({}))
    """Versions that a crowded shared worker gave to another one."""
    unloaded: Mapping[VersionKey, str] = field(default_factory=lambda: MappingProxyType({}))
    """Versions that were wanted once, with what the index says of them: `unloaded`, or why they
    had failed."""
    crash_counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Worker → its restart whose crash has been judged."""
    pool_count: int = 0
    """Pools made so far: ids are never reused."""
    in_force: tuple[RouteTable, ...] = (RouteTable(),)
    """Every table that an edge may obey at this moment; the last one is the newest."""

    @property
    def routes(self) -> RouteTable:
        """The newest table."""
        return self.in_force[-1]

    def offering(self, table: RouteTable) -> "Memory":
        """Return the memory while edges are handed a table, and may obey it or any before.

        Of those before only what nobody else says is kept: edges may refuse tables for hours.
        """
        if table is self.routes:
            return self
        kept = [table]
        said = _places(table)
        for older in reversed(self.in_force):
            if not (places := _places(older)) <= said:
                kept.append(older)
                said |= places
        return replace(self, in_force=tuple(reversed(kept)))

    def routed_pool(self, key: VersionKey) -> str | None:
        """Return the pool that the newest table names for a version."""
        route = self.routes.versions.get(key)
        return None if route is None else route.pool

    def asleep_digests(self, keys: Iterable[VersionKey]) -> dict[VersionKey, str]:
        """Return the forms in which versions fell asleep, of those whose pools have no worker."""
        homes = ((key, self.pools.get(self.placement.get(key, ""))) for key in keys)
        return {
            key: home.versions[key].digest
            for key, home in homes
            if home is not None and home.worker_count == 0
        }

    def still_asleep(self, digests: Mapping[VersionKey, str]) -> dict[VersionKey, str]:
        """Return the forms in which versions were served when they were awake, of the sleeping."""
        routes = self.routes.versions
        return {
            key: digest
            for key, digest in digests.items()
            if (route := routes.get(key)) is not None and route.asleep
        }

    def failure(self, key: VersionKey, digest: str) -> str:
        """Say why this very version cannot be loaded; empty if that is not known."""
        return _reason(self.failures, key, digest)

    def move(self, key: VersionKey, digest: str) -> str:
        """Say why this very version may not share a worker; empty if it may."""
        return _reason(self.moves, key, digest)


def _places(table: RouteTable) -> set[tuple[VersionKey, str | None]]:
    return {(key, route.pool) for key, route in table.versions.items() if route.pool is not None}


def _reason(verdicts: Mapping[VersionKey, Verdict], key: VersionKey, digest: str) -> str:
    verdict = verdicts.get(key) if verdicts else None  # mostly empty, and asked for every version
    return verdict.reason if verdict is not None and verdict.digest == digest else ""
