"""What a controller that was killed leaves to the next one: the routes in force, and its pools.

The route table is written before an edge hears of it, so the next controller's revisions are
higher than any that an edge has seen. What edges obey may be older, so what pools host stays until
they obey the next one. With the table is kept what sleeping versions are like: they have no worker
that could tell.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from serving.edge.control import Snapshot, VersionRecord
from serving.edge.routes import LiveRoute, RouteTable, VersionRoute, WorkerAddress
from serving.ids import VersionKey
from serving.registry.version import ServedVersion, VersionSpec, VersionState
from serving.rollout.damaged_file import read_or_set_aside
from serving.rollout.memory import Memory, Pool, PoolShape
from serving.rollout.ports import PoolSpec

NOWHERE: Final = VersionRoute(None)


class _SavedVersion(msgspec.Struct, frozen=True, array_like=True):
    model: str
    version: int
    route: VersionRoute
    served: ServedVersion | None = None
    """What it is like, if it is asleep."""

    def record(self, served: ServedVersion) -> VersionRecord:
        """Describe it as it was when it was last awake."""
        return VersionRecord(
            model=self.model,
            version=self.version,
            state=VersionState.READY,
            pool=self.route.pool,
            served=served,
        )


class _SavedRoutes(msgspec.Struct, frozen=True):
    revision: int
    pools: dict[str, tuple[WorkerAddress, ...]]
    versions: tuple[_SavedVersion, ...]
    live: dict[str, LiveRoute]


class RoutesFile:
    """The newest route table on disk, and what versions asleep are like. Blocking."""

    def __init__(self, path: Path) -> None:
        """Remember where it is; nothing is read yet."""
        self._path = path

    def save(self, snapshot: Snapshot) -> None:
        """Write what is to be kept; a reader sees the old or the new, nothing between."""
        table = snapshot.routes
        saved = _SavedRoutes(
            revision=table.revision,
            pools=dict(table.pools),
            versions=tuple(
                _SavedVersion(key.model, key.version, route, _served_asleep(snapshot, key))
                for key, route in table.versions.items()
            ),
            live=dict(table.live),
        )
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(saved))
        fresh.replace(self._path)

    def load(self) -> Snapshot:
        """Return the routes that were saved last, and the versions that were asleep."""
        saved = read_or_set_aside(
            self._path,
            _SavedRoutes,
            event="routes_lost",
            remedy="they are learnt anew from the workers that report; what sleeps is started "
            "once to see what it is like",
        )
        if saved is None:
            return Snapshot()
        routes = RouteTable(
            revision=saved.revision,
            pools=saved.pools,
            versions={VersionKey(one.model, one.version): one.route for one in saved.versions},
            live=saved.live,
        )
        records = [one.record(one.served) for one in saved.versions if one.served is not None]
        return Snapshot(routes=routes, versions={record.key: record for record in records})


def remembered(
    pools: Mapping[str, PoolSpec], routes: RouteTable, ending: Iterable[str] = ()
) -> Memory:
    """Build a controller's memory from the pools that run and the newest routes.

    A version that two pools host was on its way from the older to the newer: it belongs there.

    Args:
        pools: What runs.
        routes: The newest table.
        ending: Pools that are about to end, whose names are taken for so long.
    """
    placement: dict[VersionKey, str] = {}
    for pool in sorted(pools, key=_number):
        placement |= dict.fromkeys((spec.key for spec in pools[pool].versions), pool)
    return Memory(
        pools={pool: _pool(spec) for pool, spec in pools.items()},
        placement=placement,
        pool_count=max(map(_number, (*pools, *ending)), default=0),
        in_force=(*_older_tables(pools, routes), routes),
    )


def _older_tables(pools: Mapping[str, PoolSpec], routes: RouteTable) -> Iterator[RouteTable]:
    """Say what else edges may obey: the newest table was written before any of them heard of it.

    Which tables they have is not known. But whatever these route to is hosted there: a version
    leaves its pool when every edge has obeyed a table without it.
    """
    for pool, spec in pools.items():
        older = {
            version.key: VersionRoute(pool)
            for version in spec.versions
            if routes.versions.get(version.key, NOWHERE).pool != pool
        }
        if older:
            yield RouteTable(versions=older)


def accepted_versions(memory: Memory) -> tuple[VersionSpec, ...]:
    """Return what a controller had its workers host: each version in the form that it accepted."""
    return tuple(memory.pools[pool].versions[key] for key, pool in memory.placement.items())


def _served_asleep(snapshot: Snapshot, key: VersionKey) -> ServedVersion | None:
    record = snapshot.versions.get(key)
    is_asleep = snapshot.routes.versions[key].asleep
    return record.served if record is not None and is_asleep else None


def _pool(spec: PoolSpec) -> Pool:
    shape = PoolShape(
        dedicated=spec.dedicated,
        replica_count=0 if spec.scaled else spec.replica_count,
        scaled=spec.scaled,
        gpu_count=spec.gpu_count,
        profile=spec.profile,
        lock_file=spec.lock_file,
        group=spec.group,
    )
    return Pool(
        shape=shape,
        worker_count=spec.replica_count,
        versions={version.key: version for version in spec.versions},
    )


def _number(pool: str) -> int:
    """The number in a pool's id, which rises with every pool."""
    return int(pool[1:])
