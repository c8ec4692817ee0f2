"""From what is known to what people see of every version: the snapshot's records. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from runtimes.findings import Finding
from serving.edge.control import Snapshot, VersionRecord
from serving.edge.routes import RouteTable
from serving.ids import VersionKey
from serving.registry.version import ServedVersion, VersionSpec, VersionState
from serving.rollout.desired import Desired
from serving.rollout.memory import Memory
from serving.rollout.placement import isolation_text
from serving.rollout.ports import HostedVersion
from serving.rollout.routing import PoolView, Views

NOBODY: Final = PoolView.of(())
"""A pool of which nothing has been heard yet."""


ASLEEP: Final = "scaled to zero: the next call starts a worker, and waits for it"
STARTING: Final = "scaled from zero: a worker is starting, and calls wait for it"
SILENT: Final = "its worker was not heard of lately: calls go to it as before"


def snapshot_of(
    memory: Memory, desired: Desired, views: Views, routes: RouteTable, published: Snapshot
) -> Snapshot:
    """Describe everything to the edges; of what is asleep, as it was when it was last awake."""
    builder = _Records(memory, desired, views, routes, published)
    records = dict(builder.unwanted())
    records.update(builder.unreadable())
    records.update((key, builder.wanted(key, spec)) for key, spec in desired.versions.items())
    wanted = [records[key] for key in desired.versions]
    lacking = {r.key for r in wanted if r.state is not VersionState.READY} | desired.failed.keys()
    return Snapshot(
        routes=routes,
        versions=records,
        known_models=desired.known_models.union(key.model for key in records),
        ready=not lacking,
        waited_for=tuple(sorted(lacking)),
        settled=all(r.state in {VersionState.READY, VersionState.UNAVAILABLE} for r in wanted),
    )


@dataclass(frozen=True, slots=True)
class _Records:
    """Writes records from what is known."""

    memory: Memory
    desired: Desired
    views: Views
    routes: RouteTable
    published: Snapshot

    def wanted(self, key: VersionKey, spec: VersionSpec) -> VersionRecord:
        """Describe a version that shall be loaded."""
        memory = self.memory
        pool = self.routes.versions[key].pool
        view = self.views.get(pool, NOBODY) if pool is not None else NOBODY
        heard = view.ready.get(key)
        said = heard or view.silent(key)
        failure = memory.failure(key, spec.digest) or self.desired.failed.get(key, "")
        reason = failure or memory.unplaced.get(key, "")
        state = VersionState.UNAVAILABLE if reason else VersionState.LOADING
        if said is not None:
            state = VersionState.READY
            reason = f"still served as before: {failure}" if failure else spec.warning
            reason = reason if heard else SILENT
        home = pool or memory.placement.get(key)
        view = self.views.get(home, NOBODY) if home is not None else NOBODY
        if said is None and not reason:
            reason = view.progress(key)
        if said is None and (view.has_failed or pool is not None):
            state = VersionState.UNAVAILABLE if view.has_failed else VersionState.LOADING
            reason = view.trouble(key)
        served = None if said is None else said.served
        if said is None and self.routes.versions[key].asleep and not view.has_failed:
            served = self._served_before(key)
            state = VersionState.READY if served is not None else VersionState.LOADING
        if self.routes.versions[key].asleep and state is VersionState.READY:
            is_starting = home is not None and memory.pools[home].worker_count > 0
            reason = STARTING if is_starting else ASLEEP
        return VersionRecord(
            model=spec.model,
            version=spec.version,
            state=state,
            reason=reason,
            pool=pool,
            isolation=isolation_text(
                memory.pools.get(home) if home else None, memory.move(key, spec.digest)
            ),
            origin=spec.origin,
            config_text=spec.config_text,
            served=served,
            findings=self.desired.findings.get(key, ()) + _noticed(said),
        )

    def _served_before(self, key: VersionKey) -> ServedVersion | None:
        record = self.published.versions.get(key)
        return None if record is None else record.served

    def unwanted(self) -> Iterator[tuple[VersionKey, VersionRecord]]:
        """Describe what is on its way out, and what was wanted once."""
        hosted = {key for view in self.views.values() for w in view.workers for key in w.versions}
        for key, why in self.memory.unloaded.items():
            is_going = key in hosted
            state = VersionState.UNLOADING if is_going else VersionState.UNAVAILABLE
            yield key, _absent(key, state, "" if is_going else why)
        for key in hosted - self.desired.versions.keys() - self.memory.unloaded.keys():
            yield key, _absent(key, VersionState.UNLOADING, "")

    def unreadable(self) -> Iterator[tuple[VersionKey, VersionRecord]]:
        """Describe what is wanted and cannot even be read."""
        for key, reason in self.desired.failed.items():
            record = _absent(key, VersionState.UNAVAILABLE, reason)
            yield key, replace(record, findings=self.desired.findings.get(key, ()))


def _noticed(said: HostedVersion | None) -> tuple[Finding, ...]:
    """What a worker noticed when it loaded a version."""
    return () if said is None or said.served is None else said.served.findings


def _absent(key: VersionKey, state: VersionState, reason: str) -> VersionRecord:
    return VersionRecord(model=key.model, version=key.version, state=state, reason=reason)
