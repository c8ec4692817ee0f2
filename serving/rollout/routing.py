"""From desired and observed to the table that every edge shall obey. Pure.

The rules: a route appears when every ready worker of the pool that has an opinion serves the
version, and one does. It stays while the version is wanted and any of its workers may still come
back: a restarting worker means 503 for a moment, never another version's answer. It goes when the
version is no longer wanted, or every worker says that it cannot load it. One that may be without a
worker is asleep while none serves it: its calls wait at the front desk. A candidate's share of
live calls is paused while no worker of it is ready: the live version can answer them. While a
promoted version is on its way, as after a start, nobody takes its place who was not live already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.edge.routes import LiveRoute, RouteTable, VersionRoute, WorkerAddress
from serving.ids import VersionKey
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.desired import NO_VERSION, Desired, Split
from serving.rollout.memory import Memory, Observed, Pool
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
        """The workers that an edge may try: all but those on their way in or out, or of no use.

        One on its way in is told of when it is ready: an edge that looked before would wait for its
        next look.
        """
        return tuple(
            worker.address
            for worker in self.workers
            if worker.state not in {"starting", "draining"} and not _is_useless(worker)
        )

    def silent(self, key: VersionKey) -> HostedVersion | None:
        """Return a version as a worker served it of which nothing was heard lately: it may yet."""
        silent = (worker for worker in self.workers if worker.state == "silent")
        said = (worker.versions.get(key) for worker in silent)
        return next((one for one in said if one and one.state is VersionState.READY), None)

    @property
    def has_failed(self) -> bool:
        """Whether none of the workers stays up."""
        return bool(self.workers) and all(worker.state == "failed" for worker in self.workers)

    def progress(self, key: VersionKey) -> str:
        """Say how far a version is that no worker serves yet; empty where nothing was told."""
        said = (worker.versions.get(key) for worker in self.workers)
        told = (one.reason for one in said if one and one.state is VersionState.LOADING)
        return next((reason for reason in told if reason), "")

    def trouble(self, key: VersionKey) -> str:
        """Say why no worker of the pool serves a version at the moment, for people."""
        said = (worker.versions.get(key) for worker in self.workers)
        retried = next((one.reason for one in said if one and one.is_retried), "")
        if retried and not self.has_failed:
            return f"it could not be loaded again and is tried once more: {retried}"
        endings = [worker.last_exit for worker in self.workers if worker.last_exit]
        if not endings:
            return "its worker is starting"
        what = "does not stay up" if self.has_failed else "is starting again"
        return f"its worker {what}: {endings[0]}"


def views_of(observed: Observed) -> dict[str, PoolView]:
    """Take the workers of every pool together."""
    return {pool: PoolView.of(workers) for pool, workers in observed.items()}


def next_routes(memory: Memory, desired: Desired, views: Views) -> RouteTable:
    """Compute the table that should be in force; it keeps its revision if nothing changed."""
    versions: dict[VersionKey, VersionRoute] = {}
    for key, spec in desired.versions.items():
        pool = _pool_of(memory, key, views)
        reason = "" if pool else _absence(memory, key, spec.digest)
        is_asleep = pool is not None and _is_asleep(key, spec, memory.pools[pool], views.get(pool))
        versions[key] = VersionRoute(pool, reason, is_asleep)
    for key, why in (*desired.failed.items(), *memory.unloaded.items()):
        if key.version != NO_VERSION:
            versions.setdefault(key, VersionRoute(None, why))
    used = {route.pool for route in versions.values() if route.pool is not None}
    asleep = {route.pool for route in versions.values() if route.asleep}
    table = RouteTable(
        revision=memory.routes.revision,
        pools={
            pool: _addresses(pool, memory, views) if pool not in asleep else ()
            for pool in sorted(used)
        },
        versions=versions,
        live=_live(memory, desired, versions, views),
    )
    if table == memory.routes:
        return memory.routes
    return RouteTable(table.revision + 1, table.pools, table.versions, table.live)


def _addresses(pool: str, memory: Memory, views: Views) -> tuple[WorkerAddress, ...]:
    return views[pool].addresses() if pool in views else memory.routes.pools[pool]


def _lost(workers: Sequence[WorkerState]) -> frozenset[VersionKey]:
    given_up = [
        {
            key
            for key, said in worker.versions.items()
            if said.state is VersionState.UNAVAILABLE and not said.is_retried
        }
        for worker in workers
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
    if current is None or current not in memory.pools:
        return None
    view = views.get(current)  # none: a controller that was restarted, and has heard nothing yet
    return current if view is None or key not in view.lost else None


def _is_asleep(key: VersionKey, spec: VersionSpec, pool: Pool, view: PoolView | None) -> bool:
    """Whether calls have to wait for a worker; before the last one leaves, too."""
    scaling = spec.policy.scaling
    if scaling is None or scaling.min_replicas > 0 or not pool.shape.scaled:
        return False
    if pool.worker_count == 0 or view is None:
        return True
    return key not in view.ready and view.silent(key) is None


def _absence(memory: Memory, key: VersionKey, digest: str) -> str:
    return memory.failure(key, digest) or memory.unplaced.get(key) or "loading"


def _live(
    memory: Memory, desired: Desired, versions: Mapping[VersionKey, VersionRoute], views: Views
) -> dict[str, LiveRoute]:
    highest: dict[str, int] = {}
    splits = desired.splits
    for key, route in versions.items():
        is_candidate = key.model in splits and splits[key.model].candidate == key.version
        may_be_live = not is_candidate and key not in desired.unapproved
        if route.pool is not None and may_be_live and key.version > highest.get(key.model, 0):
            highest[key.model] = key.version
    models = desired.known_models.union(key.model for key in versions)
    live: dict[str, LiveRoute] = {}
    for model in models:
        pinned = VersionKey(model, desired.pinned_live.get(model, NO_VERSION))
        version = highest.get(model)
        if _is_routed(pinned, versions):
            version = pinned.version
        elif _is_coming(pinned, memory, desired, views):
            before = memory.routes.live.get(model, LiveRoute(None)).version
            is_there = before is not None and _is_routed(VersionKey(model, before), versions)
            version = before if is_there else None
        split = splits.get(model)
        key = VersionKey(model, NO_VERSION if split is None else split.candidate)
        is_split = version is not None and _can_answer(key, versions.get(key), views)
        live[model] = LiveRoute(version) if not is_split else _split(version, split)
    return live


def _is_routed(key: VersionKey, versions: Mapping[VersionKey, VersionRoute]) -> bool:
    route = versions.get(key)
    return route is not None and route.pool is not None


def _is_coming(key: VersionKey, memory: Memory, desired: Desired, views: Views) -> bool:
    """Whether a version that has no route yet is being loaded, as far as anybody knows."""
    spec = desired.versions.get(key)
    if spec is None or memory.failure(key, spec.digest) or key in memory.unplaced:
        return False
    view = views.get(memory.placement.get(key, ""))
    return view is None or not view.has_failed


def _can_answer(key: VersionKey, route: VersionRoute | None, views: Views) -> bool:
    """Whether a candidate may get calls now: while its only worker restarts, live gets them."""
    if route is None or route.pool is None:
        return False
    view = views.get(route.pool)
    return view is None or key in view.ready


def _split(version: int | None, split: Split | None) -> LiveRoute:
    """Give the candidate its share."""
    if split is None or split.share == 0:
        return LiveRoute(version)
    return LiveRoute(version, split.candidate, split.share, split.sticky_by)
