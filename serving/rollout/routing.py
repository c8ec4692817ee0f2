"""From desired and observed to what every edge shall obey and show. Pure.

The rules: a route appears when every ready worker of the pool that has an opinion serves the
version, and one does. It stays while the version is wanted and any of its workers may still come
back: a restarting worker means 503 for a moment, never another version's answer. It goes when the
version is no longer wanted, or every worker says that it cannot load it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from serving.edge.control import Snapshot, VersionRecord
from serving.edge.routes import LiveRoute, RouteTable, VersionRoute, WorkerAddress
from serving.ids import VersionKey
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.desired import Desired
from serving.rollout.memory import Memory, Observed
from serving.rollout.placement import isolation_text
from serving.rollout.ports import HostedVersion, WorkerState

Views = Mapping[str, "PoolView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """What the workers of one pool say, taken together."""

    workers: Sequence[WorkerState]
    ready: Mapping[VersionKey, HostedVersion]
    """Served by at least one ready worker."""
    partial: frozenset[VersionKey]
    """Not loaded yet in at least one ready worker."""
    lost: frozenset[VersionKey]
    """Given up by every worker."""

    @classmethod
    def of(cls, workers: Sequence[WorkerState]) -> "PoolView":
        """Take the workers of a pool together."""
        up = [worker for worker in workers if worker.state == "ready"]
        ready: dict[VersionKey, HostedVersion] = {}
        partial: set[VersionKey] = set()
        for worker in up:
            for key, said in worker.versions.items():
                if said.state is VersionState.READY:
                    ready[key] = said
                elif said.state is VersionState.LOADING:
                    partial.add(key)
        if len(up) > 1:
            partial.update(key for key in ready for w in up if key not in w.versions)
        return cls(workers=workers, ready=ready, partial=frozenset(partial), lost=_lost(workers))

    def addresses(self) -> tuple[WorkerAddress, ...]:
        """The workers that an edge may try: all but those on their way out or of no use."""
        return tuple(
            worker.address
            for worker in self.workers
            if worker.state != "draining" and not _is_useless(worker)
        )

    def trouble(self) -> str:
        """Why no worker of the pool serves at the moment, for people."""
        for worker in self.workers:
            if worker.last_exit:
                return f"its worker is starting again after: {worker.last_exit}"
        return "its worker is starting"


def views_of(observed: Observed) -> dict[str, PoolView]:
    """Take the workers of every pool together."""
    return {pool: PoolView.of(workers) for pool, workers in observed.items()}


def next_routes(memory: Memory, desired: Desired, views: Views) -> RouteTable:
    """Compute the table that should be in force; it keeps its revision if nothing changed."""
    versions: dict[VersionKey, VersionRoute] = {}
    for key, spec in desired.versions.items():
        pool = _pool_of(memory, key, views)
        versions[key] = VersionRoute(pool, "" if pool else _absence(memory, spec))
    versions |= {key: VersionRoute(None, why) for key, why in desired.failed.items() if key.version}
    for key, why in memory.unloaded.items():
        versions.setdefault(key, VersionRoute(None, why))
    used = {route.pool for route in versions.values() if route.pool is not None}
    table = RouteTable(
        revision=memory.routes.revision,
        pools={pool: views[pool].addresses() for pool in sorted(used)},
        versions=versions,
        live=_live(desired, versions),
    )
    if table == memory.routes:
        return memory.routes
    return RouteTable(table.revision + 1, table.pools, table.versions, table.live)


def snapshot_of(memory: Memory, desired: Desired, views: Views, routes: RouteTable) -> Snapshot:
    """Describe everything to the edges."""
    records = {
        record.key: record
        for record in (
            *_unwanted(memory, desired, views),
            *_unreadable(desired),
            *(_wanted(memory, spec, views, routes) for spec in desired.versions.values()),
        )
    }
    wanted = [records[key] for key in desired.versions]
    return Snapshot(
        routes=routes,
        versions=records,
        known_models=desired.known_models.union(key.model for key in records),
        ready=not desired.failed and all(r.state is VersionState.READY for r in wanted),
        settled=all(r.state in {VersionState.READY, VersionState.UNAVAILABLE} for r in wanted),
    )


def _lost(workers: Sequence[WorkerState]) -> frozenset[VersionKey]:
    given_up = [
        {k for k, said in w.versions.items() if said.state is VersionState.UNAVAILABLE}
        for w in workers
    ]
    return frozenset(set.intersection(*given_up)) if given_up else frozenset()


def _is_useless(worker: WorkerState) -> bool:
    """Whether a worker is up and has loaded nothing: its siblings are the better choice."""
    said = worker.versions.values()
    return bool(said) and all(hosted.state is VersionState.UNAVAILABLE for hosted in said)


def _pool_of(memory: Memory, key: VersionKey, views: Views) -> str | None:
    target, current = memory.placement.get(key), memory.routed_pool(key)
    view = views.get(target) if target is not None else None
    if view is not None and key in view.ready and key not in view.partial:
        return target
    view = views.get(current) if current is not None else None
    if view is not None and view.workers and key not in view.lost:
        return current
    return None


def _absence(memory: Memory, spec: VersionSpec) -> str:
    return memory.failure(spec) or memory.unplaced.get(spec.key) or "loading"


def _live(desired: Desired, versions: Mapping[VersionKey, VersionRoute]) -> dict[str, LiveRoute]:
    highest: dict[str, int] = {}
    for key, route in versions.items():
        if route.pool is not None and key.version > highest.get(key.model, 0):
            highest[key.model] = key.version
    models = desired.known_models.union(key.model for key in versions)
    live: dict[str, LiveRoute] = {}
    for model in models:
        pinned = desired.pinned_live.get(model, 0)
        promoted = versions.get(VersionKey(model, pinned))
        is_routed = promoted is not None and promoted.pool is not None
        live[model] = LiveRoute(pinned if is_routed else highest.get(model))
    return live


def _wanted(memory: Memory, spec: VersionSpec, views: Views, routes: RouteTable) -> VersionRecord:
    pool = routes.versions[spec.key].pool
    failure = memory.failure(spec)
    said = views[pool].ready.get(spec.key) if pool is not None else None
    if said is not None:
        state, reason = VersionState.READY, failure and f"still served as before: {failure}"
    elif pool is not None:
        state, reason = VersionState.LOADING, views[pool].trouble()
    else:
        gone = failure or memory.unplaced.get(spec.key, "")
        state, reason = (VersionState.UNAVAILABLE if gone else VersionState.LOADING), gone
    home = pool or memory.placement.get(spec.key)
    return VersionRecord(
        model=spec.model,
        version=spec.version,
        state=state,
        reason=reason,
        pool=pool,
        isolation=isolation_text(memory.pools.get(home) if home else None, memory.move(spec)),
        origin=spec.origin,
        config_text=spec.config_text,
        served=None if said is None else said.served,
    )


def _unwanted(memory: Memory, desired: Desired, views: Views) -> Iterator[VersionRecord]:
    hosted = {key for view in views.values() for w in view.workers for key in w.versions}
    for key, why in memory.unloaded.items():
        is_going = key in hosted
        yield VersionRecord(
            model=key.model,
            version=key.version,
            state=VersionState.UNLOADING if is_going else VersionState.UNAVAILABLE,
            reason="" if is_going else why,
        )
    for key in hosted - desired.versions.keys() - memory.unloaded.keys():
        yield VersionRecord(model=key.model, version=key.version, state=VersionState.UNLOADING)


def _unreadable(desired: Desired) -> Iterator[VersionRecord]:
    for key, reason in desired.failed.items():
        yield VersionRecord(
            model=key.model,
            version=key.version,
            state=VersionState.UNAVAILABLE,
            reason=reason,
        )
